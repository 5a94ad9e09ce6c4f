"""Studio: the embedded cars, rendered by `mstl.render`, in Carvana's layout plus part maps."""

from __future__ import annotations

import os
from pathlib import Path

from mstl.data.readers import carvana, download
from mstl.data.readers.listing import Listing, existing_folder
from mstl.data.readers.packed import Archive, Packed

PART_NAMES = ("front", "cabin", "rear", "wheels", "glass", "lights", "mirrors")
CHIMERAS = ("front", "cabin", "rear")
FOREIGN = "foreign"  # what of a chimera is no car, index 8


def locate(data_dir: str | Path | None, cache: Path) -> Path | Packed:
    """``data_dir``, else the environment's MSTL_STUDIO, else ``data/studio.zip`` of the clone or fetched.

    The zip file is read in place, never unpacked.

    Raises:
        InputError: the folder that is named does not exist, or nothing is at hand and there is no network.
    """
    named = data_dir or os.environ.get("MSTL_STUDIO")
    if named:
        return existing_folder(named, "the studio data (a folder with train/, train_masks/ and parts/)")
    clone = Path(__file__).parents[3] / "data" / "studio.zip"
    return Packed(Archive(clone if clone.exists() else download.studio(cache)), "studio")


def listing(path: Path | Packed) -> Listing:
    """Whole cars."""
    return carvana.listing(path, "studio", PART_NAMES)


def chimera(path: Path | Packed, part: str) -> Listing:
    """Objects with one true car part (``part``) on an otherwise foreign body."""
    place = existing_folder(
        path / "chimeras" / part, "a studio folder with chimeras/; render it with `make studio`"
    )
    return carvana.listing(place, f"studio/chimera-{part}", (*PART_NAMES, FOREIGN))
