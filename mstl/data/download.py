"""Fetch what a clone does not hold, once, into the cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pooch

from mstl.errors import InputError
from mstl.project import repository, revision

CARPARTS = (
    "https://github.com/dsmlr/Car-Parts-Segmentation/archive/e970560da9785216dafb77f5749456d70864bfeb.zip"
)
CARPARTS_SHA256 = "f52dcaafd485adb9120e077a002d87649b15e8bad405d05ff41119a37720b935"
CARVANA = "carvana-image-masking-challenge"


def carparts(cache: Path, address: str = CARPARTS, sha256: str = CARPARTS_SHA256) -> Path:
    """The Car Parts Dataset, release 2, as its authors published it; checked by its training annotations.

    Raises:
        InputError: the address cannot be reached, or what came is not that release.
    """

    def check(folder: Path) -> None:
        annotations = folder / "trainingset" / "annotations.json"
        if not annotations.is_file() or sha256_of(annotations) != sha256:
            raise InputError(f"{address} holds other annotations than expected; clone the release by hand")

    return _archive(cache / "carparts", address, ("trainingset/", "testset/"), check)


def studio(cache: Path, address: str | None = None) -> Path:
    """The studio data of exactly the installed commit (or version), checked by ``CHECKSUMS.sha256``.

    Raises:
        InputError: the repository cannot be reached, or a file is not what its checksum says.
    """
    address = address or f"https://github.com/{repository()}/archive/{revision()}.zip"
    # One folder an address: another version of the package may hold other cars.
    place = cache / f"studio-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    return (
        _archive(place, address, ("data/studio/",), lambda folder: check_sums(folder / "data" / "studio"))
        / "data/studio"
    )


def check_sums(folder: Path) -> None:
    """Every line ``<sha256>  <path>`` of ``CHECKSUMS.sha256`` holds, or an InputError says which not."""
    sums = folder / "CHECKSUMS.sha256"
    if not sums.is_file():
        raise InputError(f"{sums} does not exist; without it the files of {folder} cannot be checked")
    for line in sums.read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition(" ")
        file = folder / name.strip().removeprefix("*")
        if not file.is_file() or sha256_of(file) != expected:
            raise InputError(f"{file} is missing or differs from {sums}; delete {folder} and fetch it again")


def carvana(cache: Path) -> Path:
    """Carvana's training photographs and masks, through the user's own Kaggle account.

    Raises:
        InputError: kagglehub is not installed, there are no credentials, or the rules were not accepted.
    """
    place = cache / "carvana"
    if place.is_dir():
        return place
    try:
        import kagglehub
    except ImportError as error:
        raise InputError(
            "data 'carvana' is downloaded with kagglehub: pip install 'mstl[carvana]', or give data_dir"
        ) from error

    def fill(folder: Path) -> None:
        # One member at a time: the challenge's test photographs, 8 GB without masks, stay there.
        for member in ("train.zip", "train_masks.zip"):
            try:
                came = Path(kagglehub.competition_download(CARVANA, path=member))
            except Exception as error:  # kagglehub raises its own kinds, requests' and plain ones
                raise InputError(
                    f"cannot download {member} of kaggle.com/c/{CARVANA} ({type(error).__name__}): sign in "
                    f"to Kaggle, accept the competition's rules at https://www.kaggle.com/c/{CARVANA}/rules, "
                    "and give credentials by KAGGLE_USERNAME and KAGGLE_KEY or ~/.kaggle/kaggle.json; or "
                    "give data_dir"
                ) from error
            unpack_member(came, folder)

    return _whole(place, fill)


def unpack_member(came: Path, folder: Path) -> None:
    """Put a member of the challenge into ``folder``: a zip is extracted, a file or folder copied."""
    if came.is_dir():
        shutil.copytree(came, folder / came.name, dirs_exist_ok=True)
    elif zipfile.is_zipfile(came):
        _extract(came, folder, ("",), strip=False)
    else:
        shutil.copy2(came, folder)


def _archive(place: Path, address: str, prefixes: tuple[str, ...], check: Callable[[Path], None]) -> Path:
    if place.is_dir():
        return place

    def fill(folder: Path) -> None:
        archive = folder / "archive.zip"
        try:
            # The content is checked after extraction: archives that a host packs anew may differ in bytes.
            pooch.retrieve(address, known_hash=None, fname=archive.name, path=folder)
        except Exception as error:  # requests raises a dozen kinds for no network
            raise InputError(
                f"cannot download {address} ({type(error).__name__}); connect to the network, or give "
                "the data's folder by data_dir"
            ) from error
        _extract(archive, folder, prefixes, strip=True)
        archive.unlink()
        check(folder)

    return _whole(place, fill)


def _whole(place: Path, fill: Callable[[Path], None]) -> Path:
    """``place``, filled under a temporary name first: it is there whole or not at all."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as temporary:
            folder = Path(temporary) / place.name
            folder.mkdir()
            fill(folder)
            folder.replace(place)
    except OSError as error:
        raise InputError(f"cannot fill {place} ({error}); make room or choose another cache_dir") from error
    return place


def _extract(archive: Path, folder: Path, prefixes: tuple[str, ...], strip: bool) -> None:
    """Members that begin with one of ``prefixes``, less the top folder if ``strip``."""
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                if strip:
                    member.filename = member.filename.partition("/")[2]
                if not member.is_dir() and member.filename and member.filename.startswith(prefixes):
                    source.extract(member, folder)
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive.name} is damaged ({error}); download it again") from error


def sha256_of(file: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
