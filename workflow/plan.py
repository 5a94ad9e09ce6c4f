"""What has to be computed: the training runs of the grid and the executed pages of the book.

Every notebook gets a key: a hash of its text, its parameters, the package and the data. The key lies in a
small file that changes only when one of them does, and that file is what Snakemake watches. So a finished
run is reused exactly as long as it would come out the same.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
import pair
from mstl.methods.catalogue import entry
from mstl.run.config import PROFILES, TrainConfig
from mstl.run.provenance import training_code
from mstl.system.errors import InputError

NOTEBOOKS = Path("notebooks")
PACKAGE = Path("mstl")
EXECUTED = Path("_build/notebooks")
TRUST, BENCH = "trust", "bench"  # folders of what tests and benchmarks found, beside those of results
DATA_FILES = {".jpg", ".jpeg", ".png", ".gif", ".csv", ".json", ".sha256"}


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    Attributes:
        name: short name for messages, and the path of the result below its folder.
        source: the notebook's ``.py`` file.
        target: the executed notebook.
        parameters: for its parameters cell.
        key_file: file that holds the key.
        steps: updates expected, for messages.
    """

    name: str
    source: Path
    target: Path
    parameters: dict[str, Any]
    key_file: Path
    steps: int | None = None

    def finished(self) -> bool:
        """Whether a complete result with the wanted key is there."""
        begun = self.target.parent / "key.txt"
        return self.target.exists() and begun.exists() and begun.read_text() == self.key_file.read_text()


@dataclass(frozen=True)
class Plan:
    """All training runs and pages of one configuration."""

    runs: dict[str, Job] = field(default_factory=dict)
    pages: dict[str, Job] = field(default_factory=dict)
    folder: Path = Path("runs")
    results: Path = Path("results")
    shown: str | None = None  # the run whose notebook is the book's training page


def make_plan(config: dict[str, Any]) -> Plan:
    """The plan of a configuration (workflow/config.yaml with what the command line replaced).

    Raises:
        InputError: a name in the grid is unknown or a folder is missing.
    """
    data, profile, data_dir = str(config["data"]), str(config["profile"]), config.get("data_dir") or None
    if profile not in PROFILES:
        raise InputError(f"PROFILE {profile!r} is unknown; choose from {', '.join(PROFILES)}")
    if data_dir and not Path(data_dir).is_dir():
        raise InputError(f"DATA_DIR {data_dir} is not a folder; name the folder that holds the data")
    folder = Path(config.get("runs") or ("runs" if profile == "quick" else f"runs-{profile}"))
    results = Path(config["results"]) / data
    code = {
        path.relative_to(PACKAGE).as_posix(): _digest(path.read_bytes()) for path in PACKAGE.rglob("*.py")
    }
    content = data_fingerprint(data, data_dir)
    training = NOTEBOOKS / f"{config['training']}.py"

    deciding = {method: training_code(entry(method).location, PACKAGE) for method in config["methods"]}

    runs: dict[str, Job] = {}
    # `snakemake --config "seeds=[0,1]"` hands over text.
    axes = [config["recipes"], map(int, config["sources"]), config["methods"]]
    axes += [map(int, config["labels"]), map(int, config["seeds"])]
    for recipe, sources, method, labels, seed in itertools.product(*axes):
        parameters = dict(
            data=data,
            recipe=recipe,
            sources=sources,
            method=method,
            labels=labels,
            seed=seed,
            profile=profile,
        )
        below = TrainConfig(**parameters, out="").folder
        parameters |= {"data_dir": _from_notebooks(data_dir), "out": _from_notebooks(folder)}
        key_file = folder / ".keys" / f"{below}.txt"
        words = _words(training, parameters, omit=("data_dir", "out"))
        write_key(key_file, words, deciding[method], content)
        runs[str(below)] = Job(
            str(below),
            training,
            folder / below / "notebook.ipynb",
            parameters,
            key_file,
            PROFILES[profile].steps,
        )

    shown = next(iter(runs), None) if config["train"] else _finished_run(runs)
    pages: dict[str, Job] = {}
    embedded = data_fingerprint("studio", None)  # what every page may show
    for page in config["pages"]:
        source = NOTEBOOKS / f"{page}.py"
        parameters = {}
        tables: list[str] = []
        if page in config["draws_results"]:
            parameters = {"data": data}
            # The tables about to be made are inputs of the rule; those of other data lie there already.
            kept = [f for f in results.parent.glob("*/*.csv") if not config["train"] or f.parent != results]
            tables = _digests(f for f in kept if f.parent.name not in (TRUST, BENCH))
        if page in config["draws_grid"]:
            # Tables, and beside them the pictures of a diagnosis.
            tables = _digests(f for f in (results.parent / "grid").rglob("*") if f.is_file())
            if (results.parent / "grid" / data / "runs.csv").exists():  # else the page's own default
                parameters = {"data": data}
        if page in config["draws_trust"]:
            tables = _digests((results.parent / TRUST).glob("*.csv"))
        if page in config["draws_bench"]:
            tables = _digests((results.parent / BENCH).glob("*.csv"))
        if page == config["training"]:
            parameters["train"] = False
        target = EXECUTED / data / page / f"{page}.ipynb"
        key_file = EXECUTED / data / ".keys" / f"{page}.txt"
        write_key(key_file, _words(source, parameters), code, embedded, tables)
        pages[page] = Job(page, source, target, parameters, key_file)
    return Plan(runs, pages, folder, results, shown)


def data_fingerprint(data: str, data_dir: str | None) -> str:
    """Hash of names and contents of the data's files; of its name alone where it is fetched on first use."""
    if data_dir is None and data == "studio":
        embedded = Path("data/studio.zip")
        return _digest(embedded.read_bytes()) if embedded.exists() else data
    if data_dir is None:
        return data
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(Path(data_dir)):
        digest.update(os.fsencode(path.relative_to(data_dir)) + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def write_key(path: Path, *parts: Any) -> None:
    """Write the hash of ``parts``, unless the file holds it already: its time of change then stays."""
    key = _digest(json.dumps(parts, sort_keys=True).encode())
    if not path.exists() or path.read_text().strip() != key:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key + "\n")


def _words(source: Path, parameters: dict[str, Any], omit: Iterable[str] = ()) -> list[Any]:
    """The notebook's cells and its parameters, less those that only say where files lie."""
    if not source.exists():
        raise InputError(f"{source} is missing")
    cells = [[cell.cell_type, cell.source, cell.metadata] for cell in pair.read(source).cells]
    return [cells, {name: value for name, value in parameters.items() if name not in omit}]


def _finished_run(runs: dict[str, Job]) -> str | None:
    return next((name for name, job in runs.items() if job.finished()), None)


def _from_notebooks(path: str | Path | None) -> str | None:
    """A path as the kernel sees it, which works in notebooks/; an absolute one stays."""
    if path is None or Path(path).is_absolute():
        return path and str(path)
    return Path(os.path.relpath(path, NOTEBOOKS)).as_posix()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in DATA_FILES and p.is_file())


def _digests(files: Iterable[Path]) -> list[str]:
    return [_digest(file.read_bytes()) for file in sorted(files)]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
