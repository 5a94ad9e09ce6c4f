"""Sweep files: the runs of a comparison, written as blocks, checked before the first one starts.

    profile: grid
    seeds: [0, 1, 2, 3, 4]
    groups:
      references: [target_only, oracle]
    blocks:
      - data: studio
        recipe: parts
        labels: [4, 8]
        methods: [references, {method: dann, overrides: [strength=0.1, strength=1]}]

Every entry of a block but ``methods`` may be one value or a list; a block is the product of its lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mstl.run.config import PROFILES, TrainConfig
from mstl.system.errors import InputError

FOLDER = Path("workflow/sweeps")
TOP = ("profile", "seeds", "results", "groups", "blocks")
BLOCK = ("data", "recipe", "sources", "extra", "without", "labels", "seeds", "methods")
ENTRY = ("method", "overrides", "mean_teacher", "steps")
EMBEDDED = "studio"  # the data that needs no folder


@dataclass(frozen=True)
class Entry:
    """One run and where the file asks for it.

    Attributes:
        config: what to train.
        place: file and block, for messages.
    """

    config: TrainConfig
    place: str


@dataclass(frozen=True)
class Sweep:
    """The runs of one sweep file, without those whose data was not given.

    Attributes:
        name: of the file.
        results: name of the folder of the tables; files that share it share the tables.
        profile: of all runs.
        entries: the runs, seeds outermost, otherwise as written.
        skipped: data that needs a folder and got none -> number of runs left out.
    """

    name: str
    results: str
    profile: str
    entries: tuple[Entry, ...]
    skipped: Mapping[str, int]

    @property
    def configs(self) -> list[TrainConfig]:
        """What to train, in order."""
        return [entry.config for entry in self.entries]


def find(name: str) -> Path:
    """The file of a sweep called by its name in ``workflow/sweeps`` or by its path."""
    path = Path(name) if Path(name).suffix == ".yaml" else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise InputError(f"SWEEP {name!r}: {path} does not exist; choose from {known}, or name a .yaml file")
    return path


def read(path: Path, data_dirs: Mapping[str, str | None] | None = None, out: str | None = None) -> Sweep:
    """The sweep in a file.

    Args:
        path: the YAML file.
        data_dirs: data -> its folder. Runs on data other than studio without a folder are left out;
            None leaves nothing out.
        out: folder of the runs; default ``runs-<profile>``.

    Raises:
        InputError: not such a file, an unknown key or group, a value of another kind, a run asked for twice.
            The message names file and block. What needs the package's methods and data is checked by `check`.
    """
    top = _document(path)
    profile = top.get("profile", "grid")
    if profile not in PROFILES:
        raise InputError(f"{path}: profile {profile!r} is unknown; choose from {', '.join(PROFILES)}")
    groups = top.get("groups") or {}
    if not isinstance(groups, dict) or not all(isinstance(group, list) for group in groups.values()):
        raise InputError(f"{path}: groups must name lists of methods, `rivals: [dann, mfsan]`")
    blocks = top.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        raise InputError(f"{path}: blocks must be a list of at least one block")
    entries, first, skipped = [], {}, {}
    common = {"profile": profile, "out": out or f"runs-{profile}"}
    for number, block in enumerate(blocks, start=1):
        for entry in _block(path, number, block, top.get("seeds"), groups, common, data_dirs or {}):
            run = _at(entry.place, lambda entry=entry: entry.config.folder)
            if run in first:
                raise InputError(
                    f"{entry.place}: run {run.relative_to(entry.config.out)} is asked for twice, "
                    f"first in {first[run]}; leave it out in one of them"
                )
            first[run] = entry.place.removeprefix(f"{path}, ")
            data = entry.config.data
            if data == EMBEDDED or data_dirs is None or data_dirs.get(data):
                entries.append(entry)
            else:
                skipped[data] = skipped.get(data, 0) + 1
    entries.sort(key=lambda entry: entry.config.seed)  # stable: a sweep that is stopped early is balanced
    return Sweep(path.stem, str(top.get("results", path.stem)), profile, tuple(entries), skipped)


def select(
    sweep: Sweep, seeds: Iterable[int] | None = None, methods: Iterable[str] | None = None
) -> list[TrainConfig]:
    """The runs of some seeds and methods; a method is named as in the registry or as the whole variant.

    Raises:
        InputError: a seed or method that the sweep does not have.
    """
    configs = sweep.configs
    if not configs:
        return []
    if seeds is not None:
        _known(sweep, "SEEDS", seeds, {c.seed for c in configs})
        configs = [c for c in configs if c.seed in set(seeds)]
    if methods is not None:
        _known(sweep, "METHODS", methods, {n for c in sweep.configs for n in (c.method, c.variant)})
        configs = [c for c in configs if {c.method, c.variant} & set(methods)]
    return configs


def check(sweep: Sweep) -> None:
    """Build every method once and read every task once, so that what cannot run is said before the first run.

    Raises:
        InputError: unknown method or hyper-parameter, recipe the data does not have, more labels than images,
            a method that needs labels where there are none; the message names file and block.
    """
    from mstl import methods  # torch: two seconds that reading a file does not need

    settings = {}
    for entry in sweep.entries:
        c = entry.config
        _at(entry.place, lambda c=c: methods.find(c.method))
        settings.setdefault((c.data, c.recipe, c.sources, c.extra, c.without), []).append(entry)
    for entries in settings.values():
        # The most labels of the first seed stand for all; the file's order decides which block is named.
        largest = max(entries, key=lambda entry: (entry.config.labels, -entry.config.seed))
        task = _at(largest.place, largest.config.task)
        built = set()
        for entry in entries:
            c = entry.config
            kind = methods.find(c.method)
            labelled = c.labels > 0 or kind.all_labels
            if (c.method, c.overrides, labelled) in built:
                continue
            built.add((c.method, c.overrides, labelled))
            build = dict(sources=len(task.sources), labelled=labelled, overrides=c.overrides, width=4)
            _at(entry.place, lambda c=c, build=build: methods.build(c.method, **build))


def _document(path: Path) -> dict[str, Any]:
    try:
        top = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML: {reason}") from None
    if not isinstance(top, dict):
        raise InputError(f"{path} is not a sweep: it needs the keys {', '.join(TOP)}")
    _keys(str(path), top, TOP)
    return top


def _block(
    path: Path,
    number: int,
    block: Any,
    seeds: Any,
    groups: dict[str, list],
    common: dict[str, Any],
    data_dirs: Mapping[str, str | None],
) -> list[Entry]:
    place = f"{path}, block {number}"
    if not isinstance(block, dict):
        raise InputError(f"{place}: must be a mapping with the keys {', '.join(BLOCK)}; got {block!r}")
    _keys(place, block, BLOCK)
    shown = [*_listed(block.get("data", EMBEDDED)), *_listed(block.get("recipe", "parts"))]
    place += f" ({' '.join(map(str, shown))})"
    if block.get("methods") is None:
        raise InputError(f"{place}: methods is missing; list names of methods or groups")
    if block.get("seeds", seeds) is None:
        raise InputError(f"{place}: seeds is missing; list them here or once at the top, `seeds: [0, 1]`")
    axes = {name: _listed(block[name]) for name in BLOCK[:-1] if name in block}
    axes["seeds"] = _listed(block.get("seeds", seeds))
    empty = next((name for name, values in axes.items() if not values), None)
    if empty:
        raise InputError(f"{place}: {empty} is an empty list; name at least one value or leave it out")
    axes["seed"] = axes.pop("seeds")
    variants = [v for entry in _listed(block["methods"]) for v in _variants(place, entry, groups)]
    entries = []
    for values in itertools.product(*axes.values()):
        setting = dict(zip(axes, values, strict=True))
        setting |= {name: _words(setting[name]) for name in ("extra", "without") if name in setting}
        data_dir = data_dirs.get(setting.get("data", EMBEDDED))
        for variant in variants:
            parameters = common | {"data_dir": data_dir} | setting | variant
            entries.append(Entry(_at(place, lambda p=parameters: TrainConfig(**p)), place))
    return entries


def _variants(place: str, entry: Any, groups: dict[str, list], inside: tuple[str, ...] = ()) -> list[dict]:
    """The method variants an entry of ``methods`` stands for: a name, a group's name, or a mapping."""
    if isinstance(entry, str) and entry in groups:
        if entry in inside:
            raise InputError(f"{place}: group {entry!r} contains itself")
        return [v for each in groups[entry] for v in _variants(place, each, groups, (*inside, entry))]
    if isinstance(entry, str):
        return [{"method": entry}]
    if not isinstance(entry, dict) or not isinstance(entry.get("method"), str):
        raise InputError(
            f"{place}: {entry!r} is not a method; write a name, or {{method: dann, overrides: strength=0.3}}"
        )
    _keys(f"{place}, method {entry['method']}", entry, ENTRY)
    lists = {name: [value] if name == "method" else _listed(value) for name, value in entry.items()}
    variants = [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    return [v | ({"overrides": _words(v["overrides"])} if "overrides" in v else {}) for v in variants]


def _keys(place: str, found: dict, known: tuple[str, ...]) -> None:
    unknown = [str(name) for name in found if name not in known]
    if unknown:
        raise InputError(f"{place}: unknown key {', '.join(unknown)}; the keys are {', '.join(known)}")


def _known(sweep: Sweep, name: str, wanted: Iterable, known: set) -> None:
    absent = [str(value) for value in wanted if value not in known]
    if absent:
        has = ", ".join(map(str, sorted(known)))
        raise InputError(f"{name} {', '.join(absent)}: not in sweep {sweep.name}, which has {has}")


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _words(value: Any) -> str:
    """Words separated by single spaces; an empty entry is no word."""
    return " ".join(str(value).split()) if value is not None else ""


def _at(place: str, make: Callable[[], Any]) -> Any:
    """``make()``, with the place put before what it raises."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    except TypeError as error:
        raise InputError(f"{place}: a value is of the wrong kind ({error})") from None
