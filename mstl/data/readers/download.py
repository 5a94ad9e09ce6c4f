"""Fetch what a clone does not hold, once, into the cache."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import pooch

from mstl.data.readers.archives import unpack
from mstl.system.errors import InputError
from mstl.system.files import replacing, sha256_of
from mstl.system.project import installed_archive, installed_file, revision

CARPARTS = (
    "https://github.com/dsmlr/Car-Parts-Segmentation/archive/e970560da9785216dafb77f5749456d70864bfeb.zip"
)
CARPARTS_SHA256 = "17e4fd978f2076f4135e1554e64046977be715fda731b16be4203da1f7f10f9f"
# Of data/studio.zip in this repository.
STUDIO_SHA256 = "2a61a8e7ee25856f766f1f55ec851e642261a0de81c53dddc388d7ad74b35e9c"
CARVANA = "carvana-image-masking-challenge"

MOST_BYTES = 2**30  # of a download; GitHub's archives of both data sets have a tenth
MOST_SECONDS = 3600
TIMEOUT = 60  # seconds without a byte


def carparts(cache: Path, address: str = CARPARTS, sha256: str = CARPARTS_SHA256) -> Path:
    """The training photographs of the Car Parts Dataset, release 2, as its authors published them.

    Of the release's two parts the one whose bytes we know and whose numbers the book shows; a clone given as
    data_dir has both.

    Raises:
        InputError: the address cannot be reached, or what came is not that release.
    """

    def check(folder: Path) -> None:
        place = folder / "trainingset"
        files = (file for file in place.rglob("*") if file.is_file())
        if hashlib.sha256(sums_of(place, files).encode()).hexdigest() != sha256:
            raise InputError(f"{address} holds other files than expected; clone the release by hand")

    wanted = ("trainingset/annotations.json", "trainingset/JPEGImages/")
    return _archive(cache / "carparts", address, wanted, check)


def studio(cache: Path, address: str | None = None, sha256: str = STUDIO_SHA256) -> Path:
    """``studio.zip`` of exactly the installed commit (or version), fetched once and checked every time.

    Raises:
        InputError: the repository cannot be reached, or what came is not the studio data of this version.
    """
    address = address or installed_file("data/studio.zip")
    file = cache / f"studio-{sha256[:12]}.zip"  # another version of the package may hold other cars
    if not file.is_file() or sha256_of(file) != sha256:
        with replacing(file) as temporary:
            fetch(address, temporary)
            if sha256_of(temporary) != sha256:
                raise InputError(
                    f"{address} is not the studio data of this version of the package; install it anew, or "
                    "give data_dir"
                )
    return file


def results(cache: Path, address: str | None = None) -> Path:
    """``results/`` of exactly the installed commit (or version), all its tables, fetched once.

    The repository's archive, and not file by file: only it knows which tables there are.

    Raises:
        InputError: the repository cannot be reached, or what came holds no tables.
    """
    address = address or installed_archive()

    def check(folder: Path) -> None:
        if not any(folder.glob("results/*/*.csv")):
            raise InputError(f"{address} holds no results/")

    return _archive(cache / f"results-{revision()}", address, ("results/",), check) / "results"


def sums_of(folder: Path, files: Iterable[Path]) -> str:
    """One line ``<sha256>  <path below folder>`` a file, in alphabetical order, as sha256sum writes them."""
    names = sorted(file.relative_to(folder).as_posix() for file in files)
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)


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

    return whole(place, fill)


def unpack_member(came: Path, folder: Path) -> None:
    """Put a member of the challenge into ``folder``: a zip archive is unpacked, a folder copied.

    Raises:
        InputError: it is neither, it holds a link, or as `unpack`.
    """
    if came.is_dir():
        links = [file for file in came.rglob("*") if file.is_symlink()]
        if links:
            raise InputError(f"{links[0]} is a link; remove it")
        shutil.copytree(came, folder / came.name, dirs_exist_ok=True)
    elif zipfile.is_zipfile(came):
        unpack(came, folder)
    else:
        raise InputError(f"{came} is neither a zip archive nor a folder; delete it to fetch it again")


OWN_DATA = "give the data's folder by data_dir"


def fetch(address: str, file: Path, instead: str = OWN_DATA) -> None:
    """Download ``address`` to ``file``, over HTTPS from the first to the last redirection.

    Args:
        address: of a file.
        file: where it goes.
        instead: what a user without a network may do.

    Raises:
        InputError: another protocol, no network, no such page, more than 1 GiB, an hour, a minute of silence.
    """
    _check_protocol(address, instead)

    def check_redirection(response: Any, *_: object, **__: object) -> None:
        if response.is_redirect:
            _check_protocol(urljoin(response.url, response.headers["location"]), instead)

    load = pooch.HTTPDownloader(timeout=TIMEOUT, hooks={"response": check_redirection})
    try:
        with open(file, "wb") as handle:
            load(address, _Limited(handle, address, instead), None)
    except InputError:
        raise
    except Exception as error:  # requests raises a dozen kinds for no network
        raise InputError(
            f"cannot download {address} ({type(error).__name__}); connect to the network, or {instead}"
        ) from error


def _check_protocol(address: str, instead: str) -> None:
    if urlsplit(address).scheme != "https":
        raise InputError(f"{address}: downloads are over https only, without a detour; {instead}")


class _Limited:
    """A file that takes only so many bytes, and only so long."""

    def __init__(self, file: BinaryIO, address: str, instead: str) -> None:
        self._file, self._address, self._instead, self._left = file, address, instead, MOST_BYTES
        self._end = time.monotonic() + MOST_SECONDS

    def write(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left < 0 or time.monotonic() > self._end:
            spent = f"{MOST_BYTES:,} bytes" if self._left < 0 else f"{MOST_SECONDS:,} seconds"
            raise InputError(f"cannot download {self._address}: more than {spent}; {self._instead}")
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def _archive(place: Path, address: str, prefixes: tuple[str, ...], check: Callable[[Path], None]) -> Path:
    if place.is_dir():
        return place

    def fill(folder: Path) -> None:
        archive = folder / "archive.zip"
        # The content is checked, not the archive: a host that packs it anew may change the archive's bytes.
        fetch(address, archive)
        unpack(archive, folder, prefixes, strip=True)
        archive.unlink()
        check(folder)

    return whole(place, fill)


def whole(place: Path, fill: Callable[[Path], None]) -> Path:
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
