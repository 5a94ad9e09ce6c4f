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

The entries of a block are the parameters of `TrainConfig`, one value or a list each (``seeds`` and
``methods`` may be called so); a block is the product of its lists.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from mstl import methods
from mstl.data.catalogue import EMBEDDED
from mstl.data.recipes.domains import check_labels
from mstl.run.config import PROFILES, TrainConfig
from mstl.run.names import Variant
from mstl.system.errors import InputError

FOLDER = Path("workflow/sweeps")
TOP = ("profile", "seeds", "results", "notebook", "published", "groups", "blocks")
ENTRY = tuple(field.name for field in fields(Variant))
ELSEWHERE = ("profile", "data_dir", "weights_dir", "out")  # of the command line, not of a block
AXES = tuple(field.name for field in fields(TrainConfig) if field.name not in ELSEWHERE)
DATA = TrainConfig.data  # of a block that names none
WEIGHTS = "weights that lie in a folder"


@dataclass(frozen=True)
class Sweep:
    """The runs of one sweep file, without those whose data was not given."""

    path: Path
    results: str  # name of the folder of the tables; files that share it share the tables
    notebook: str | None  # executed for each run; None trains without one
    runs: str  # folder of the runs
    entries: tuple[tuple[TrainConfig, str], ...]  # the runs, seeds outermost, and where they are asked for
    published: bool  # whether the table of published numbers follows
    skipped: Mapping[str, int]  # data, or WEIGHTS, that need a folder and got none -> number of runs left out

    @property
    def configs(self) -> list[TrainConfig]:
        """What to train, in order."""
        return [config for config, _ in self.entries]


def axis(name: str) -> str | None:
    """The parameter of `TrainConfig` that a block calls ``name``, seed or seeds; None if there is none."""
    return next((known for known in (name, name.removesuffix("s")) if known in AXES), None)


def find(name: str) -> list[Path]:
    """The file of a sweep called by its name in ``workflow/sweeps`` or by its path; all files of a folder."""
    path = Path(name).expanduser() if Path(name).suffix == ".yaml" else FOLDER / f"{name}.yaml"
    if files := sorted((FOLDER / name).glob("*.yaml")):
        return files
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.iterdir()))
        raise InputError(f"SWEEP {name!r}: {path} does not exist; choose from {known}, or name a .yaml file")
    return [path]


def read(
    path: Path,
    data_dirs: Mapping[str, str | None] | None = None,
    out: str | None = None,
    replaced: Mapping[str, Any] | None = None,
    weights_dir: str | None = None,
) -> Sweep:
    """The sweep in a file.

    Args:
        path: the YAML file.
        data_dirs: data -> its folder, "" where it needs none. Runs on data that is not embedded and has no
            entry are left out; None leaves nothing out.
        out: folder of the runs; default ``runs-<profile>``, ``runs`` for notebooks at their own profile.
        replaced: values, of `AXES` and the profile, that take the place of those of every block. Where a
            recipe is among them only the first block counts: the others are there for one of their own.

        weights_dir: folder of the weights that runs name; without it those are left out that name a folder.

    Raises:
        InputError: not such a file, an unknown key or group, a value of another kind, a run asked for twice.
            The message names file and block. What methods and data refuse is said by `check`.
    """
    with _at(str(path)):
        try:
            top = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            raise InputError(f"cannot be read as YAML: {' '.join(str(error).split())}") from None
        if not isinstance(top, dict):
            raise InputError(f"is not a sweep; it needs the keys {', '.join(TOP)}")
        _keys(top, TOP)
        common = {"profile": top.get("profile", "grid"), **(replaced or {})}
        profile, groups, blocks = common["profile"], top.get("groups") or {}, top.get("blocks")
        if not isinstance(profile, str) or profile not in PROFILES:
            raise InputError(f"profile {profile!r} is unknown; choose from {', '.join(PROFILES)}")
        if not isinstance(groups, dict) or not all(isinstance(group, list) for group in groups.values()):
            raise InputError("groups must name lists of methods, `rivals: [dann, mfsan]`")
        if not isinstance(blocks, list) or not blocks:
            raise InputError("blocks must be a list of at least one block")
    own = top.get("notebook") and profile == top.get("profile")
    common["out"] = out or ("runs" if own else f"runs-{profile}")
    entries, first, skipped = [], {}, {}
    for number, block in enumerate(blocks[: 1 if "recipe" in (replaced or {}) else None], start=1):
        place = f"{path}, block {number}"
        with _at(place):
            for parameters in _block(block, top.get("seeds"), groups, common):
                data_dir = (data_dirs or {}).get(parameters.get("data", DATA))
                config = TrainConfig(**parameters, data_dir=data_dir or None, weights_dir=weights_dir or ".")
                run = config.folder.relative_to(config.out)
                if run in first:
                    raise InputError(f"run {run} is asked for twice, first in block {first[run]}; ask once")
                first[run] = number
                lacking = data_dirs is not None and config.named_variant.folders and not weights_dir
                if lacking:
                    skipped[WEIGHTS] = skipped.get(WEIGHTS, 0) + 1
                elif config.data in EMBEDDED or data_dirs is None or data_dir is not None:
                    entries.append((config, place))
                else:
                    skipped[config.data] = skipped.get(config.data, 0) + 1
    entries.sort(key=lambda entry: entry[0].seed)  # stable: a sweep that is stopped early is balanced
    results, beside = str(top.get("results", path.stem)), bool(top.get("published"))
    return Sweep(path, results, top.get("notebook"), common["out"], tuple(entries), beside, skipped)


def select(sweep: Sweep, wanted: Mapping[str, Sequence]) -> list[TrainConfig]:
    """The runs with some values of some parameters; a method is named alone or as the whole variant."""
    return [
        c
        for c in sweep.configs
        if all(_called(c, name) & set(map(str, values)) for name, values in wanted.items())
    ]


def check_selection(sweeps: Sequence[Sweep], wanted: Mapping[str, Sequence]) -> None:
    """Refuse what none of the sweeps has; a folder of sweeps is one comparison, whose files differ.

    Raises:
        InputError: a value of a parameter that no run has.
    """
    for name, values in wanted.items():
        known = set().union(*(_called(c, name) for sweep in sweeps for c in sweep.configs))
        absent = ", ".join(str(value) for value in values if known and str(value) not in known)
        if absent:
            has = ", ".join(sorted(known, key=lambda value: (len(value), value)))
            stems = " and ".join(sweep.path.stem for sweep in sweeps)
            raise InputError(
                f"{name.upper()} {absent}: not in sweep{'s' * (len(sweeps) > 1)} {stems}, which "
                f"{'has' if len(sweeps) == 1 else 'have'} {has}"
            )


def _called(config: TrainConfig, name: str) -> set[str]:
    """What the value of a parameter is called."""
    return {str(getattr(config, name))} | ({config.variant} if name == "method" else set())


def check_names(sweep: Sweep) -> None:
    """Look up every method; a dry run says, too, what nobody is called.

    Raises:
        InputError: an unknown method; the message names file and block.
    """
    for c, place in sweep.entries:
        with _at(place):
            methods.find(c.method)


def check(sweep: Sweep, asked: Container[Path] | None = None) -> None:
    """Build every method once and read every task once, so that what cannot run is said before the first run.

    Args:
        sweep: some of whose runs are to be trained.
        asked: the folders of those; None, all of them.

    Raises:
        InputError: unknown method or hyper-parameter, recipe the data does not have, more labels than images,
            a method that needs labels where there are none; the message names file and block.
    """
    entries = [(c, place) for c, place in sweep.entries if asked is None or c.folder in asked]
    tasks, built = {}, set()
    # Of each setting the most labels of the first seed stand for all.
    for c, place in sorted(entries, key=lambda entry: (-entry[0].labels, entry[0].seed)):
        with _at(place):
            if (c.data, c.setting) not in tasks:
                task = c.task()
                tasks[c.data, c.setting] = len(task.sources), task.problem
            sources, problem = tasks[c.data, c.setting]
            check_labels(c.labels, c.labels, problem.classes)  # fewer labels may be too few
            labelled = c.labels > 0 or methods.find(c.method).all_labels
            build = (c.method, sources, labelled, c.overrides, problem)
            if build not in built:
                methods.build(*build, width=4, weights_dir=c.weights_dir)
            built.add(build)


def _block(block: Any, seeds: Any, groups: dict[str, list], common: dict[str, Any]) -> Iterator[dict]:
    """The parameters of each run of a block."""
    if not isinstance(block, dict):
        raise InputError(f"must be a mapping such as {{labels: 4, methods: mstl}}; got {block!r}")
    _keys({axis(str(name)) or name for name in block}, AXES)
    if len({axis(name) for name in block}) < len(block):
        raise InputError("a key stands there in singular and plural; write it once")
    axes = {axis(name): value for name, value in {"seeds": seeds, **block}.items()} | common
    for name, example in (("method", "methods: [mstl, oracle]"), ("seed", "seeds: [0, 1]")):
        if axes.get(name) is None:
            raise InputError(f"{name}s is missing; list them, `{example}` (seeds may stand at the top)")
    variants = [v for entry in _listed(axes.pop("method")) for v in _variants(entry, groups)]
    for setting in _product(axes):
        yield from (setting | variant for variant in variants)


def _variants(entry: Any, groups: dict[str, list], inside: tuple[str, ...] = ()) -> list[dict]:
    """The method variants an entry of ``methods`` stands for: a name, a group's name, or a mapping."""
    if isinstance(entry, str) and entry in groups:
        if entry in inside:
            raise InputError(f"group {entry!r} contains itself")
        return [v for each in groups[entry] for v in _variants(each, groups, (*inside, entry))]
    if isinstance(entry, str):
        v = Variant.parse(entry)
        changed = {"overrides": v.override_text or None, "mean_teacher": v.mean_teacher, "steps": v.steps}
        return [{"method": v.method} | {name: value for name, value in changed.items() if value is not None}]
    if not isinstance(entry, dict) or not isinstance(entry.get("method"), str):
        raise InputError(f"{entry!r} is not a method; write a name, or {{method: dann, overrides: gain=5}}")
    with _at(f"method {entry['method']}"):
        _keys(entry, ENTRY)
        return list(_product(entry))


def _product(entries: dict[str, Any]) -> Iterator[dict]:
    """Every combination of values of entries that may be lists."""
    axes = {}
    for name, value in entries.items():
        empty = "" if name in ("extra", "without", "keep", "overrides") else None
        axes[name] = [empty if v is None else v for v in _listed(value)]
        if not axes[name]:
            raise InputError(f"{name} is an empty list; name at least one value or leave it out")
        if any(v is None or isinstance(v, list | dict) for v in axes[name]):
            raise InputError(f"{name} must be one value or a list of values; got {value!r}")
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _keys(found: Iterable, known: tuple[str, ...]) -> None:
    unknown = ", ".join(str(name) for name in found if name not in known)
    if unknown:
        raise InputError(f"unknown key {unknown}; the keys are {', '.join(known)}")


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place before what is wrong there."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    except (TypeError, AttributeError) as error:
        raise InputError(f"{place}: a value is of the wrong kind ({error})") from None
