"""Where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pooch


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """``cache_dir``, else the environment's MSTL_CACHE, else the platform's cache folder."""
    return Path(cache_dir or os.environ.get("MSTL_CACHE") or pooch.os_cache("mstl")).expanduser()
