"""Local benchmark: sources that share only local features with the target.

The paper's own cut of Carvana is not public; these recipes are our reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mstl.data.catalogue import check_data, load, load_chimeras, problem_of
from mstl.data.chance import shuffled
from mstl.data.collections import COLLECTIONS
from mstl.data.domain import Domain
from mstl.data.readers.studio import CHIMERAS
from mstl.data.recipes import regions as car
from mstl.data.recipes.coverage import check_labelled, note_coverage
from mstl.data.recipes.domains import check_known, check_labels, collected_task
from mstl.data.recipes.leaks import check_groups
from mstl.data.recipes.own import own_domains, own_target
from mstl.data.recipes.partial import kept, plain, rows_of
from mstl.data.recipes.partition import divisible, grown, partition
from mstl.data.recipes.spoil import left_out, spoiled
from mstl.data.recipes.styles import STYLES
from mstl.data.recipes.windows import cut, jittered, over
from mstl.data.splits import deal_cars, divide, image_names
from mstl.data.store import STRIDE, check_working_size
from mstl.data.task import Task
from mstl.problems import Classification, Segmentation
from mstl.system.errors import InputError

# Views within 22.5° of front, rear and side; the target's lie at 45°, between an end and a side.
VIEWS = {"front": (16, 1, 2), "rear": (8, 9, 10), "side": (4, 5, 6, 12, 13, 14)}
TARGET_VIEWS = (3, 7, 11, 15)
OVERLAP = 1 / 16  # of the shorter side of an image: 4 pixels of 64


@dataclass(frozen=True)
class Request:
    """What was asked for, checked."""

    data: str
    sources: int
    seed: int
    size: tuple[int, int]
    data_dir: str | Path | None
    cache_dir: str | Path | None

    def load(self) -> Domain:
        """The whole data set; of what a user brings nothing is known, so it is checked.

        Raises:
            InputError: as `load`, or as `check_groups`.
        """
        whole = load(self.data, self.size, self.data_dir, self.cache_dir)
        if self.data in ("folder", "carvana"):
            check_groups(whole, self.data_dir or self.data, turntable=self.data == "carvana")
        return whole


@dataclass(frozen=True)
class Recipe:
    """How sources and target are made.

    Attributes:
        description: one line.
        sources: allowed numbers J of sources for each data set, its default first; none where folders decide.
        make: from a request to J sources, the target's domain and the target's rows in it.
        tested: whether the target is split into training, validation and test, or all of it trains.
    """

    description: str
    sources: dict[str, tuple[int, ...]]
    make: Callable[[Request], tuple[tuple[Domain, ...], Domain, np.ndarray]]
    tested: bool = True

    def number(self, recipe: str, data: str, sources: int) -> int:
        """J for ``data``: ``sources``, or the default where it is 0 (and 0 where folders decide).

        Raises:
            InputError: the recipe does not exist for the data, or not with that many sources.
        """
        if data not in self.sources:
            known = ", ".join(self.sources)
            raise InputError(f"recipe {recipe!r} does not exist for data {data!r}; it does for {known}")
        allowed = self.sources[data]
        if not allowed:
            return sources
        if sources == 0:
            return allowed[0]
        if sources not in allowed:
            numbers = ", ".join(map(str, sorted(allowed)))
            raise InputError(f"recipe {recipe!r} of data {data!r} gives J = {numbers} sources; got {sources}")
        return sources


def window_size(size: tuple[int, int], layout: tuple[str, ...]) -> tuple[int, int]:
    """Height and width of the windows at working ``size``: multiples of 8 up to half of each side.

    Front, cabin and rear have square windows (wider ones show two parts at once), halves the full height.
    """

    def half(side: int) -> int:
        return max(STRIDE, side // (2 * STRIDE) * STRIDE)

    height, width = size
    if layout == car.LAYOUTS[2]:
        return height, half(width)
    if layout == car.LAYOUTS[3]:
        return (min(half(height), half(width)),) * 2
    return half(height), half(width)


class Dealt(NamedTuple):
    """Cars, their regions, and which images each role of `parts` gets.

    Attributes:
        whole: the whole data set.
        layout: names of the k regions.
        regions: bool (k, n, h, w), where they lie.
        window: height and width of windows.
        placed: of each region what `windows.over` says.
        rows: of the target, then of each region.
    """

    whole: Domain
    layout: tuple[str, ...]
    regions: np.ndarray
    window: tuple[int, int]
    placed: list[tuple[np.ndarray, np.ndarray]]
    rows: list[np.ndarray]


def _dealt(request: Request) -> Dealt:
    whole = request.load()
    # A single source is the first of the layout that is default for the data.
    layout = car.LAYOUTS[
        request.sources if request.sources > 1 else RECIPES["parts"].sources[request.data][0]
    ]
    regions = car.regions(whole, layout)
    window = window_size(request.size, layout)
    placed = [over(regions, j, window) for j in range(len(layout))]
    usable = [np.ones(len(whole), bool), *(shown for _, shown in placed)]
    rows = deal_cars(whole.groups, usable, request.seed, _kinds(whole))
    return Dealt(whole, layout, regions, window, placed, rows)


def _parts(request: Request, styled: bool) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    whole, layout, _, window, placed, (target, *rows) = _dealt(request)
    for name, (_, shown) in zip(layout[: request.sources], placed, strict=False):
        if not shown.any():
            empty = int((whole.masks.flatten(1).sum(1) == 0).sum())
            raise InputError(
                f"recipe 'parts': no image of data {whole.name!r} shows enough of the part {name!r} to cut a "
                f"window over it; {empty} of {len(whole)} masks are empty at {request.size[0]}×"
                f"{request.size[1]}: mark larger objects, or choose another recipe"
            )
    names = image_names(whole)
    sources = []
    for j, name in enumerate(layout[: request.sources]):
        if not len(rows[j]):
            raise _too_few(whole, len(layout), name)
        keys = [(request.seed, "window", name, names[row]) for row in rows[j]]
        corners = jittered(placed[j][0][rows[j]], whole.size, window, request.size[0] // 32, keys)
        sources.append(cut(whole.select(rows[j], name), corners, window))
    return _in_styles(sources, styled), whole, target


def _masks(
    request: Request, styled: bool = False, overlap: float = 0.0, mixed: bool = False
) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    """The target of `_parts`; source j shows every k-th of the other cars, all of it, and labels part j.

    Args:
        styled: each source in its own style.
        overlap: by how much parts reach into their neighbours, as a share of the shorter side.
        mixed: the last of the k sources labels the whole.
    """
    whole, layout, regions, _, _, (target, *_) = _dealt(request)
    objects = whole.masks[:, 0].numpy() > 0
    usable = divisible(whole, regions, layout)
    cars = shuffled(set(whole.groups.tolist()) - set(whole.groups[target].tolist()), request.seed, "masks")
    shown = [
        np.flatnonzero(np.isin(whole.groups, cars[j :: len(layout)]) & usable) for j in range(request.sources)
    ]
    for rows, name in zip(shown, layout, strict=False):
        if not len(rows):
            raise _too_few(whole, len(layout), name)
    sources = [whole.select(rows, name) for rows, name in zip(shown, layout, strict=False)]
    labelled = []
    # Styles put their backdrop behind the object, not behind the part: they come before the part's mask.
    for j, (source, rows) in enumerate(zip(_in_styles(sources, styled), shown, strict=True)):
        part = partition(regions[:, rows], objects[rows])[j]
        if overlap:
            part = grown(part, objects[rows], overlap * min(request.size))
        whole_object = mixed and j == len(layout) - 1
        if whole_object:
            source, part = replace(source, name="whole"), objects[rows]
        masks = torch.from_numpy(part[:, None].astype(np.uint8))
        labelled.append(replace(source, masks=masks, partial=not whole_object))
    return tuple(labelled), whole, target


def _views(request: Request, styled: bool) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    whole = request.load()
    if not ((whole.views >= 1) & (whole.views <= 16)).all():
        raise InputError(
            f"recipe 'views' needs the view number (1..16) of every image; in data {request.data!r} name "
            "files <car>_<view>, or choose recipe 'parts'"
        )
    usable = [np.isin(whole.views, views) for views in (TARGET_VIEWS, *VIEWS.values())]
    target, *rows = deal_cars(whole.groups, usable, request.seed, _kinds(whole))
    names = list(VIEWS)[: request.sources]
    for j, name in enumerate(names):
        if not len(rows[j]):
            raise _too_few(whole, len(VIEWS), name)
    sources = [whole.select(rows[j], name) for j, name in enumerate(names)]
    return _in_styles(sources, styled), whole, target


def _whole(request: Request) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    """Whole images of other cars, labelled as the target is, each source in its own style."""
    whole = request.load()
    usable = [np.ones(len(whole), bool)] * (1 + request.sources)
    target, *rows = deal_cars(whole.groups, usable, request.seed, _kinds(whole))
    names = [f"style {j + 1}" for j in range(request.sources)]
    for name, shown in zip(names, rows, strict=True):
        if not len(shown):
            raise _too_few(whole, request.sources, name)
    sources = [whole.select(shown, name) for name, shown in zip(names, rows, strict=True)]
    return _in_styles(sources, styled=True), whole, target


def _chimeras(request: Request) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    whole, styles = request.load(), problem_of(request.data) == "classification"
    sources = tuple(
        replace(load_chimeras(part, request.size, request.data_dir, request.cache_dir, styles), name=part)
        for part in CHIMERAS[: request.sources]
    )
    return sources, whole, np.arange(len(whole))


def _own(
    request: Request, tested: bool, partial: bool = False
) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    place = request.data_dir, request.sources, request.size, request.cache_dir
    sources, whole = own_domains(*place, tested)
    return tuple(replace(s, partial=partial) for s in sources), whole, np.arange(len(whole))


def _alone(request: Request, tested: bool) -> tuple[tuple[Domain, ...], Domain, np.ndarray]:
    if request.sources:
        raise InputError(f"recipe 'own-alone' has no source; got sources = {request.sources}: choose 'own'")
    whole = own_target(request.data_dir, request.size, request.cache_dir, tested)
    return (), whole, np.arange(len(whole))


def _kinds(whole: Domain) -> np.ndarray | None:
    return None if whole.labels is None else whole.labels.numpy()


def _in_styles(sources: list[Domain], styled: bool) -> tuple[Domain, ...]:
    if not styled:
        return tuple(sources)
    return tuple(
        replace(source, images=style(source.images, source.masks))
        for source, style in zip(sources, STYLES[: len(sources)], strict=True)
    )


def _too_few(whole: Domain, count: int, name: str) -> InputError:
    return InputError(
        f"data {whole.name!r} has {len(set(whole.groups.tolist()))} cars: too few for a target and {count} "
        f"sources of different cars (source {name!r} is empty); use data with more cars"
    )


_PARTS = dict.fromkeys(("studio", "studio-styles", "carvana", "carparts"), (3, 1, 2, 4))
_PARTS["folder"] = (2, 1, 3, 4)
_ANY = {data: (3, 1, 2) for data in _PARTS}
# A part has a mask, and no class.
_MASKS = {data: numbers for data, numbers in _PARTS.items() if problem_of(data) == "segmentation"}
_MIXED = {data: tuple(number for number in numbers if number > 1) for data, numbers in _MASKS.items()}

RECIPES: dict[str, Recipe] = {
    "parts": Recipe(
        "sources: windows over one part of other cars (3: front, cabin, rear; 2: left, right; 4: quadrants), "
        "each source in its own style; target: whole cars",
        _PARTS,
        lambda request: _parts(request, styled=True),
    ),
    "parts-plain": Recipe(
        "as parts, all sources in the target's style", _PARTS, lambda request: _parts(request, styled=False)
    ),
    "masks": Recipe(
        "sources: whole images of other cars, of which each source labels one part only (those of parts); "
        "target: whole cars, labelled whole",
        _MASKS,
        _masks,
    ),
    "masks-styled": Recipe(
        "as masks, each source in its own style", _MASKS, lambda request: _masks(request, styled=True)
    ),
    "masks-overlap": Recipe(
        "as masks, parts reaching into their neighbours by a sixteenth of the image's shorter side",
        _MASKS,
        lambda request: _masks(request, overlap=OVERLAP),
    ),
    "masks-mixed": Recipe(
        "as masks, the last source labelled whole", _MIXED, lambda request: _masks(request, mixed=True)
    ),
    "views": Recipe(
        "sources: front views, rear views, side views; target: three-quarter views",
        _ANY,
        lambda request: _views(request, styled=False),
    ),
    "views-styled": Recipe(
        "as views, each source in its own style", _ANY, lambda request: _views(request, styled=True)
    ),
    "whole-styled": Recipe(
        "sources: whole images of other cars, labelled as the target is, each source in its own style",
        _ANY,
        _whole,
    ),
    "chimeras": Recipe(
        "objects that carry a true front, cabin or rear on a foreign body; target: whole cars",
        dict.fromkeys(("studio", "studio-styles"), (3, 1, 2)),
        _chimeras,
    ),
}
OWN = {
    "own": ("sources: the folders sources/<name> of data_dir; target: its folder target", _own),
    "own-masks": (
        "as own, each source marking a part of the object only, the target the whole",
        partial(_own, partial=True),
    ),
    "own-alone": ("the folder target of data_dir and no source, for target_only and oracle", _alone),
}
RECIPES |= {
    name + ending: Recipe(says + more, {"folder": ()}, partial(make, tested=not ending), not ending)
    for name, (says, make) in OWN.items()
    for ending, more in (("", ""), ("-untested", "; every mask of the target teaches, and nothing is scored"))
}


def local_task(
    data: str,
    recipe: str = "parts",
    sources: int = 0,
    labels: int = 8,
    seed: int = 0,
    size: tuple[int, int] = (64, 96),
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    extra: str = "",
    without: str | Sequence[str] = (),
    keep: str | Sequence[str] = (),
) -> Task:
    """J labelled sources and a target with ``labels`` labelled images, every split by car.

    Target and sources show different cars. A quarter of the target's cars are for the test, an eighth
    for validation; none of them is seen in training. The split depends on data, recipe and ``seed``
    only: it is the same for every method, and the labelled images of ``labels = 4`` are among those
    of 8. With J below the number of parts of a recipe, the first J sources are those of the full recipe.

    Args:
        data: ``studio``, ``studio-styles``, ``carparts``, ``carvana``, ``folder``, or a key of `COLLECTIONS`.
        recipe: a key of `RECIPES`; of `COLLECTIONS` ``to-<target>`` or ``<source>-to-<target>``. With
            ``partial-`` before it the target keeps half of the classes, with ``partial4-`` four.
        sources: J; 0 is the recipe's own.
        labels: labelled target images, 0 to all training images.
        seed: of split and windows.
        size: height and width of the target's images, multiples of 8.
        data_dir: as in `load`.
        cache_dir: as in `load`.
        extra: sources to add, of ``useless`` (noise), ``harmful`` (inverted masks, or classes shifted by
            one), ``shifted`` (masks moved) and ``shuffled`` (masks of other images), separated by spaces.
        without: the recipe's sources to leave out, one name or several.
        keep: names of the classes that the target keeps, one or several; by default the recipe decides.

    Raises:
        InputError: unknown data or recipe, J the recipe does not give, too few cars, more labels than
            training images, a source whose masks are all empty, a class that no source knows, labels but
            fewer than classes, a target that keeps none of its classes or all, or as `load`.
    """
    check_data(data)
    if data in COLLECTIONS:
        if extra:
            raise InputError(f"extra={extra!r}: sources are added to recipes of images with masks alone")
        names = (without,) if isinstance(without, str) and without else tuple(without)
        keep = (keep,) if isinstance(keep, str) and keep else tuple(keep)
        return collected_task(data, recipe, sources, labels, seed, size, data_dir, cache_dir, names, keep)
    if plain(recipe) not in RECIPES:
        raise InputError(f"unknown recipe {plain(recipe)!r}; choose from {', '.join(RECIPES)}")
    base = RECIPES[plain(recipe)]
    number = base.number(plain(recipe), data, sources)
    request = Request(data, number, seed, check_working_size(size), data_dir, cache_dir)
    made, whole, rows = base.make(request)
    classes = kept(whole, recipe, keep, seed)
    rows = rows[rows_of(whole, classes)[rows]]
    made, problem = left_out(made, without), Segmentation()
    check_labelled(made)
    if recipe.removesuffix("-untested") in OWN:
        note_coverage(made, whole)
    if whole.classes:
        problem = Classification(whole.classes, (3, *whole.size))
        check_known(made, whole.select(rows))
        check_labels(labels, labels, whole.classes)
    made = spoiled(made, extra, seed)
    return Task(f"{data}/{recipe}", made, **divide(whole, rows, labels, seed, base.tested), problem=problem)
