"""Write the repository's address wherever it is needed; pyproject.toml is the one place that states it.

``python tools/links.py`` writes, ``python tools/links.py --check`` only says what is out of step.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PLACES = (
    "README.md",
    "CITATION.cff",
    "_config.yml",
    "notebooks/*.py",
    "notebooks/*.ipynb",
    "book/**/*.md",
)


def slug(root: Path = ROOT) -> str:
    """``owner/name`` of the public repository, from pyproject.toml.

    Raises:
        ValueError: the address is not one of a repository on GitHub.
    """
    address = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", address)
    if not match:
        raise ValueError(
            f"pyproject.toml: Repository must be https://github.com/<owner>/<name>; got {address}"
        )
    return match[1]


def written(root: Path = ROOT) -> str:
    """``owner/name`` as the files state it now: _config.yml was written last."""
    return slug_of(yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"])


def slug_of(address: str) -> str:
    """The last two parts of an address."""
    return "/".join(address.rstrip("/").split("/")[-2:])


def replaced(text: str, old: str, new: str) -> str:
    """``text`` with every address of repository ``old`` turned into one of ``new``."""
    for before, after in zip(_addresses(old), _addresses(new), strict=True):
        text = re.sub(re.escape(before) + r"(?![\w-])", after, text)
    return text


def _addresses(repository: str) -> tuple[str, ...]:
    owner, name = repository.split("/")
    return (
        f"github.com/{repository}",
        f"colab.research.google.com/github/{repository}",
        f"raw.githubusercontent.com/{repository}",
        f"img.shields.io/github/license/{repository}",
        f"{owner}.github.io/{name}",
    )


def files(root: Path = ROOT) -> list[Path]:
    """The files that may name the repository."""
    return sorted(path for place in PLACES for path in root.glob(place))


def main() -> int:
    """Write, or with ``--check`` only compare; returns the exit status."""
    old, new = written(), slug()
    changed = 0
    # _config.yml remembers the old address, so it is written last.
    for path in sorted(files(), key=lambda file: file.name == "_config.yml"):
        text = path.read_text(encoding="utf-8")
        wanted = replaced(text, old, new)
        if wanted != text:
            changed += 1
            print(path.relative_to(ROOT))
            if "--check" not in sys.argv:
                path.write_text(wanted, encoding="utf-8")
    print(f"{new}: {changed} files " + ("differ" if "--check" in sys.argv else "written"))
    return int(bool(changed) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
