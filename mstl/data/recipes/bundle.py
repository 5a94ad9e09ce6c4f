"""A bundle: the zip file, or the folder, in which somebody brings images of their own."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from itertools import groupby, zip_longest
from pathlib import Path
from typing import NamedTuple

from mstl.data.chance import shuffled
from mstl.data.readers import studio
from mstl.data.readers.archives import unpack
from mstl.data.readers.folder import listing
from mstl.data.readers.listing import CLUTTER, enumerated, existing_folder
from mstl.data.recipes.own import folders
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.files import explained, path_of, replacing, sha256_of

_EXPECTED = "images/ and masks/, or these two in target/ and in each sources/<name>/"


class Bundle(NamedTuple):
    """What a bundle holds: the folder of each source by name, if any, and the target's."""

    sources: dict[str, Path]
    target: Path

    def has_mask(self) -> dict[str, bool]:
        """Of each image of the target, by its name, whether it has a mask.

        Raises:
            InputError: as `mstl.data.readers.folder.listing`.
        """
        records = listing(self.target, unlabelled=True).records
        return {record.name: record.mask is not None for record in records}


def opened(bundle: str | Path, place: str | Path) -> Bundle:
    """The folders of a bundle; a zip file is unpacked below ``place``, once for each content.

    A bundle holds ``images/`` and ``masks/`` with a mask of some of the images, or ``target/`` with these two
    and ``sources/``, a folder of the same kind for each source. All of it may lie in one folder more, as most
    programs pack it.

    Args:
        bundle: a zip file (`mstl.data.readers.archives.unpack` says what is refused), or a folder, which is
            read where it lies.
        place: folder for what is unpacked.

    Raises:
        InputError: it is neither, or holds no such folders.
    """
    root = path_of("zip_file", bundle)
    if root.is_file():
        if not zipfile.is_zipfile(root):
            raise InputError(f"{root} is no zip file; pack the folders into one: {_EXPECTED}")
        to = path_of("place", place) / sha256_of(root)[:16]
        if not to.is_dir():
            _unpack(root, to)
        root = to
    root = _inner(existing_folder(root, f"a zip file, or a folder with {_EXPECTED}"))
    if (root / "target").is_dir():
        sources = folders(root)[0] if (root / "sources").is_dir() else {}
        return Bundle(sources, root / "target")
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        found = enumerated(sorted(entry.name for entry in root.iterdir())) or "nothing"
        raise InputError(f"{bundle} holds {found}; expected {_EXPECTED}")
    return Bundle({}, root)


def _unpack(archive: Path, to: Path) -> None:
    with explained(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=".unpacked-") as temporary:
            unpack(archive, Path(temporary) / "all")
            shutil.move(Path(temporary) / "all", to)


def _inner(root: Path) -> Path:
    """The folder itself, or the only one in it."""
    kept = [e for e in root.iterdir() if not e.name.startswith(".") and e.name.lower() not in CLUTTER]
    names = {entry.name for entry in kept}
    if len(kept) == 1 and kept[0].is_dir() and not names & {"images", "masks", "target", "sources"}:
        return _inner(kept[0])
    return root


def write_example(
    out: str | Path, images: int = 64, masks: int = 8, seed: int = 0, data_dir: str | Path | None = None
) -> tuple[Path, Path]:
    """A bundle of the studio's cars, as somebody might bring it, and what is known of it besides.

    Args:
        out: folder to write.
        images: number of images, drawn by ``seed``.
        masks: how many of them have a mask in the bundle, each of another car while there are cars.
        seed: of the draw.
        data_dir: the studio's folder, where it is not embedded.

    Returns:
        ``cars.zip``, and the folder of the masks that were kept back.

    Raises:
        InputError: more masks than images, more images than there are, or as `load`.
    """
    out = path_of("out", out)
    found = studio.listing(studio.locate(data_dir, cache_folder())).records
    if not 0 < masks < images <= len(found):
        raise InputError(f"expected 0 < masks < images ≤ {len(found)}; got masks={masks}, images={images}")
    records = {record.name: record for record in found}
    chosen = [records[name] for name in shuffled(set(records), seed, "example")[:images]]
    of_rows = dict(enumerate(record.group for record in chosen))
    others = {car: list(rows) for car, rows in groupby(sorted(of_rows, key=of_rows.get), of_rows.get)}
    turns = zip_longest(*others.values())
    shown = [chosen[row] for turn in turns for row in turn if row is not None]
    kept = out / "kept-back"
    with replacing(out / "cars.zip") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for record in chosen:
            archive.writestr(f"cars/images/{record.name}{record.image.suffix}", record.image.read_bytes())
        for record in shown[:masks]:
            archive.writestr(f"cars/masks/{record.name}{record.mask.suffix}", record.mask.read_bytes())
    for record in shown[masks:]:
        with replacing(kept / f"{record.name}{record.mask.suffix}") as temporary:
            temporary.write_bytes(record.mask.read_bytes())
    return out / "cars.zip", kept
