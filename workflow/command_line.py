"""What the command line asks for: words ``name=value``, as make hands on those that it was given.

    make reproduce RUN='labels=4,8 seeds=0,1 methods=mstl,oracle'      python workflow/run.py sweep seeds=5,6

A parameter of `TrainConfig` goes by its own name (or its plural): `sweep_file.axis`; nobody here lists them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import sweep_file
from mstl.system.errors import InputError

WHOLE = ("overrides", "without", "keep")  # texts in which commas or spaces have a meaning of their own


@dataclass
class Options:
    """The words of a command line, read."""

    axes: dict[str, list] = field(default_factory=dict)  # parameter of TrainConfig -> its values
    data_dirs: dict[str, str] = field(default_factory=dict)  # data -> its folder
    data_dir: str = ""  # of the one data set that is asked for
    weights_dir: str = ""  # folder of the weights that runs name
    profile: str = ""  # of all runs, if not the sweep's own
    sweep: str = "main"  # names in workflow/sweeps, or .yaml files
    runs: str = ""  # folder of all runs
    results: str = "results"  # folder of the tables of all sweeps
    jobs: int = min(8, os.cpu_count() or 1)  # tasks at the same time
    cluster: str = "default"  # where Snakemake lets them work: a folder in workflow/profiles, or any
    bundle: int = 15  # minutes, expected, of tasks that share a job of a cluster where there are many
    timeout: int = 21600  # seconds for one cell of a notebook
    dry_run: int = 0  # 1 only says what there is to do


NAMES = [f.name for f in fields(Options) if f.name not in ("axes", "data_dirs")]


def parse(words: Iterable[str]) -> Options:
    """Read ``name=value`` words; names in any case, an empty value is the default, ``~`` the home folder.

    Raises:
        InputError: a name that nothing here has, a value of another kind, a folder that does not exist.
    """
    options = Options()
    _read(options, words)
    data = options.axes.get("data", [sweep_file.DATA])
    if options.data_dir and len(data) > 1:
        raise InputError(f"DATA_DIR is of one data set; write DATA_DIR_{str(data[0]).upper()}=folder")
    options.data_dirs |= {data[0]: options.data_dir} if options.data_dir else {}
    for data, folder in options.data_dirs.items():
        if not Path(folder).is_dir():
            raise InputError(f"DATA_DIR {folder} of {data} is not a folder; name the one that holds the data")
    if options.weights_dir and not Path(options.weights_dir).is_dir():
        raise InputError(
            f"WEIGHTS_DIR {options.weights_dir} is not a folder; name the one that holds the weights"
        )
    named = Path("workflow/profiles", options.cluster)
    options.cluster = str(named if named.is_dir() else Path(options.cluster).expanduser())
    if not Path(options.cluster, "config.yaml").is_file():
        raise InputError(f"CLUSTER {options.cluster} holds no config.yaml; name a profile of Snakemake")
    for name, folder in (("RUNS", options.runs), ("RESULTS", options.results)):
        if Path(folder).exists() and not Path(folder).is_dir():
            raise InputError(f"{name} {folder} is a file; name a folder")
    return options


def _read(options: Options, words: Iterable[str]) -> None:
    for word in words:
        given, equals, value = word.partition("=")
        name, value = given.lower().replace("-", "_"), value.strip()
        if not equals:
            raise InputError(f"{word!r} is not name=value, such as seeds=0,1")
        if name == "run":
            try:
                inner = shlex.split(value)
            except ValueError as error:
                raise InputError(f"RUN {value!r}: {error}") from None
            _read(options, inner)
        elif not value:
            continue
        elif name.startswith("data_dir_"):
            data = name.removeprefix("data_dir_").replace("_", "-")  # no data has an underscore in its name
            options.data_dirs[data] = str(Path(value).expanduser())
        elif name in NAMES and isinstance(getattr(options, name), int):
            if not value.isdecimal() or (name != "dry_run" and int(value) < 1):
                raise InputError(f"{given} must be a whole number ≥ 1; got {value!r}")
            setattr(options, name, int(value))
        elif name in NAMES:
            is_path = name in ("runs", "results", "data_dir", "weights_dir")
            setattr(options, name, str(Path(value).expanduser()) if is_path else value)
        elif sweep_file.axis(name):
            values = [value] if name in WHOLE else [scalar(v) for v in value.replace(",", " ").split()]
            options.axes[sweep_file.axis(name)] = values
        else:
            known = ", ".join([*sweep_file.AXES, *NAMES])
            raise InputError(f"no parameter is called {given}; there are {known}, and data_dir_<data>")


def scalar(text: str) -> int | float | str:
    """A whole number or a number where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
