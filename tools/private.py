"""Keep what belongs to one person or machine out of a notebook that is to be published."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8  # characters of a secret; a shorter value stands in ordinary text, too
# Any other folder of a machine: where systems keep homes, mounts, scratch space and installations.
FOLDER = re.compile(
    r"(?<![\w.~:/-])/(?:home|Users|root|tmp|var|mnt|media|opt|srv|usr|private|work|scratch|data|content"
    r"|kaggle)/(?:[^\s'\"<>:,;)\]}]*/)?|\b[A-Za-z]:\\(?:[^\s'\"<>:,;)\]}]*\\)?"
)


def cleaned(notebook: Any, environment: Mapping[str, str] = os.environ) -> Any:
    """A notebook (or any part of it: dictionaries, lists, strings) without credentials and absolute paths.

    The values of environment variables that hold a secret become ``<secret>``, the repository's folder and
    the home folder ``.`` and ``~``, and of any other absolute path the last part stays. Pictures are left
    alone: in their letters a path would be chance.
    """
    secrets = {v for k, v in environment.items() if SECRET.search(k) and len(v) >= SHORTEST}
    replaced = {secret: "<secret>" for secret in sorted(secrets, key=len, reverse=True)}
    places = {ROOT: ".", Path.home(): "~", Path(sys.prefix): "<python>"}
    longest = sorted(places, key=lambda place: len(str(place)), reverse=True)
    replaced |= {str(place): places[place] for place in longest if place != Path("/")}
    return _walk(notebook, replaced)


def _walk(part: Any, replaced: dict[str, str]) -> Any:
    if isinstance(part, str):
        for before, after in replaced.items():
            boundary = r"(?![\w-])" if after != "<secret>" else ""
            part = re.sub(re.escape(before) + boundary, lambda _, after=after: after, part)
        return FOLDER.sub("", part)
    if isinstance(part, list):
        return [_walk(item, replaced) for item in part]
    if isinstance(part, dict):
        if part.get("encoding") == "base64":  # the buffer of a widget
            return part
        return type(part)(
            (key, value if str(key).startswith("image/") else _walk(value, replaced))
            for key, value in part.items()
        )
    return part
