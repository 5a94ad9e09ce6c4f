"""Trained networks that nobody has to train: a release's files from finished runs, and these runs from it."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mstl.data.readers import download
from mstl.data.readers.archives import unpack
from mstl.nn.states import load_checkpoint, scored_weights
from mstl.run.checkpoint import save_checkpoint
from mstl.system import project
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.files import check_writable, path_of, sha256_of, write_json

INDEX = "runs.json"
PREFIX = "release:"  # before a name, where the folder of a run is expected
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # what hosts of releases leave as it is
_KEPT = ("manifest.json", "images.csv", "metrics.jsonl")
_INSTEAD = "train the run: `python -m mstl fetch` prints the command of each"
_ALWAYS = (1980, 1, 1, 0, 0, 0)  # the time of every member: the same run gives the same bytes


@dataclass(frozen=True)
class Released:
    """One trained network of a release.

    Attributes:
        name: by which it is fetched.
        bytes, sha256: of its file, ``<name>.zip``.
        command: that trained it.
        commit: of the code that did.
        says: its score on test images, or that there is none.
    """

    name: str
    bytes: int
    sha256: str
    command: str
    commit: str
    says: str

    def __post_init__(self) -> None:
        texts = (self.name, self.sha256, self.command, self.commit, self.says)
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("a text is none")
        if not _NAME.fullmatch(self.name) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"name {self.name[:50]!r} or its checksum")
        if not isinstance(self.bytes, int) or not 0 < self.bytes <= download.MOST_BYTES:
            raise ValueError(f"size of {self.name}")

    @property
    def file(self) -> str:
        """Name of its file in the release."""
        return f"{self.name}.zip"


def run_folder(run: str | Path) -> Path:
    """The folder of a run: ``run`` itself or, of ``release:<name>``, where `fetch_run` put it.

    Raises:
        InputError: no path, or as `fetch_run`.
    """
    if isinstance(run, str) and run.startswith(PREFIX):
        return fetch_run(run.removeprefix(PREFIX))
    return path_of("run", run)


def released() -> list[Released]:
    """The trained networks of the installed version's release.

    Raises:
        InputError: the release cannot be reached, or its index is damaged.
    """
    address = project.released_file(INDEX)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / INDEX
        download.fetch(address, file, "name the folder of a run of your own")
        try:
            return [Released(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))["runs"]]
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{address} is no index of a release ({error})") from error


def fetch_run(name: str, cache_dir: str | Path | None = None) -> Path:
    """The folder of a released run; downloaded once, and whole or not at all.

    Args:
        name: one of `released`.
        cache_dir: as in `load`.

    Raises:
        InputError: no such name, no network, or what came has another size or checksum than the index says.
    """
    place = cache_folder(cache_dir) / f"runs-{project.release()}" / name
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} names no released run; `python -m mstl fetch` lists those there are")
    if place.is_dir():
        return place
    known = {entry.name: entry for entry in released()}
    if name not in known:
        raise InputError(f"no released run is called {name!r}; there are {', '.join(known) or 'none'}")
    entry = known[name]

    def fill(folder: Path) -> None:
        archive, address = folder / "run.zip", project.released_file(entry.file)
        download.fetch(address, archive, _INSTEAD)
        if archive.stat().st_size != entry.bytes or sha256_of(archive) != entry.sha256:
            raise InputError(f"{address} is not what {INDEX} of its release says; try again, or {_INSTEAD}")
        unpack(archive, folder)
        archive.unlink()

    return download.whole(place, fill)


def make_release(runs: str | Path, out: str | Path) -> list[Path]:
    """Write the files of a release: `INDEX`, and ``<name>.zip`` of every finished run below ``runs``.

    A name is the run's path below ``runs``, with hyphens. Of a checkpoint the weights that were scored stay,
    which is what predicts and what other runs start from; what only training needs is left out.

    Returns:
        The files, the index last.

    Raises:
        InputError: no finished run, a damaged one, two whose names would be one, or ``out`` exists.
    """
    runs, out = path_of("runs", runs), path_of("out", out)
    check_writable("out", out)
    if out.exists():
        raise InputError(f"out={out} exists already; name another folder, or delete it")
    folders = {path.parent: _name(path.parent, runs) for path in sorted(runs.glob("**/manifest.json"))}
    if not folders:
        raise InputError(f"no finished run below {runs}; train one with `python -m mstl train`")
    if double := {name for name in folders.values() if list(folders.values()).count(name) > 1}:
        raise InputError(f"two runs below {runs} would be called {sorted(double)[0]}; release them apart")

    def fill(place: Path) -> None:
        entries = [_packed(folder, name, place) for folder, name in folders.items()]
        write_json(place / INDEX, {"runs": [asdict(entry) for entry in entries]})

    download.whole(out, fill)
    return [*(out / f"{name}.zip" for name in folders.values()), out / INDEX]


def _name(folder: Path, runs: Path) -> str:
    parts = folder.relative_to(runs).as_posix() if folder != runs else folder.name
    return re.sub(r"[^A-Za-z0-9._]+", "-", parts).strip("-.")


def _packed(folder: Path, name: str, place: Path) -> Released:
    """Write the zip file of a run, and what the index says of it."""
    manifest = _manifest(folder)
    path, checkpoint = place / f"{name}.zip", place / "checkpoint.pt"
    state = load_checkpoint(folder / "checkpoint.pt")
    if state.get("settings") != manifest["settings"]:
        raise InputError(f"{folder}: checkpoint and manifest are of different runs; train it again")
    weights = scored_weights(state, folder / "checkpoint.pt")
    save_checkpoint(checkpoint, {"settings": state["settings"], "method": weights, "averaged": None})
    files = {name: folder / name for name in _KEPT if (folder / name).is_file()} | {
        "checkpoint.pt": checkpoint
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, file in files.items():
            archive.writestr(zipfile.ZipInfo(member, _ALWAYS), file.read_bytes(), zipfile.ZIP_DEFLATED)
    checkpoint.unlink()
    said = {"command": manifest["command"], "commit": manifest["commit"], "says": _score(folder)}
    try:
        return Released(name, path.stat().st_size, sha256_of(path), **said)
    except ValueError as error:
        raise InputError(f"{folder} cannot be released: {error}") from error


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {name: found[name] for name in ("settings", "command", "commit")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{folder / 'manifest.json'} is damaged ({error}); train the run anew") from error


def _score(folder: Path) -> str:
    """Mean score of a run's test images, in words."""
    if not (folder / "images.csv").is_file():
        return "no test"
    import pandas as pd  # takes a second, which fetching does not need

    table = pd.read_csv(folder / "images.csv").query("split == 'test'")
    name = "dice" if "dice" in table else "accuracy"
    return f"{name} {table[name].mean():.3f} of {len(table)} test images"
