"""Where the project lives. The address itself stands once, in pyproject.toml."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path


def from_notebooks(path: str) -> str:
    """A path as a notebook in ``notebooks/`` names it, where its kernel works: there, or in any other folder.

    ``../runs`` stays in the clone when papermill is started in the clone's root, and in Colab's start folder.
    """
    inside = Path.cwd().name == "notebooks"
    return path if inside or not path.startswith("../") else path.removeprefix("../")


def address() -> str:
    """Address of the public repository, from the installed package's ``Repository`` link."""
    for link in metadata.metadata("mstl").get_all("Project-URL") or []:
        label, _, found = link.partition(",")
        if label.strip() == "Repository":
            return found.strip().rstrip("/").removesuffix(".git")
    raise LookupError("the package metadata of mstl names no Repository")


def revision() -> str:
    """The commit that pip installed from git, or the tag of the installed version."""
    installed = metadata.distribution("mstl").read_text("direct_url.json")
    commit = json.loads(installed or "{}").get("vcs_info", {}).get("commit_id")
    return commit or release()


def installed_file(path: str) -> str:
    """Address of a file of the repository as it is in the installed commit or version."""
    return f"{address()}/raw/{revision()}/{path}"


def released_file(name: str) -> str:
    """Address of a file that is attached to the release of the installed version."""
    return f"{address()}/releases/download/{release()}/{name}"


def release() -> str:
    """Tag of the release of the installed version."""
    return f"v{metadata.version('mstl')}"


def installed_archive() -> str:
    """Address of a zip archive of the whole repository as it is in the installed commit or version."""
    return f"{address()}/archive/{revision()}.zip"
