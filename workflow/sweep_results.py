"""The tables of sweeps: `results/<name>/<data>/` from the runs of all sweep files that share the name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import sweep_file
from mstl.report.results import collect_compact
from mstl.run.config import TrainConfig
from sweep_plan import run_name


def collect(files: Iterable[Path], results: Path, out: str | None = None) -> list[Path]:
    """Write the tables that the sweeps in ``files`` belong to, whatever seeds or methods were just run.

    Args:
        files: sweep files. Others in their folders that name the same ``results`` count, too.
        results: folder of all tables.
        out: folder of the runs, as of `sweep_file.read`.

    Returns:
        The files written.

    Raises:
        InputError: as `sweep_file.read` and `mstl.report.results.collect_compact`.
    """
    files = list(files)
    neighbours = dict.fromkeys(path for file in files for path in sorted(file.parent.glob("*.yaml")))
    sweeps = {path: sweep_file.read(path, out=out) for path in neighbours}
    written = []
    for name, runs in dict.fromkeys((sweeps[f].results, _folder(sweeps[f].configs)) for f in files):
        configs = [c for sweep in sweeps.values() if sweep.results == name for c in sweep.configs]
        wanted = {run_name(c) for c in configs if c.out == runs}
        written += collect_compact(runs, str(results / name), wanted)
    return written


def _folder(configs: list[TrainConfig]) -> str:
    return configs[0].out
