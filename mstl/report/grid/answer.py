"""The answer of the whole book in one chart and five sentences, computed from the tables of the sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mstl.report.bootstrap import two_way_bootstrap
from mstl.report.grid import comparison
from mstl.report.grid.comparison import COMBINE, LITERAL, OURS, best_rival, choose, variant_label
from mstl.report.grid.part_bars import best_control, rivals
from mstl.report.results import method_label
from mstl.run.names import Variant

DATA, FEW, MANY = "carparts", 4, 32
ALONE, ENSEMBLE, ALL = "target_only", "pooled_ensemble", "oracle"
RUNGS = (ALONE, COMBINE, ENSEMBLE, LITERAL, OURS, ALL)


@dataclass(frozen=True)
class Reading:
    """What "local" may mean, and where that was measured.

    Attributes:
        name: ``label`` or ``show``.
        title: in words.
        folder: below ``results``.
        recipe: of the sweep.
    """

    name: str
    title: str
    folder: str
    recipe: str


READINGS = (
    Reading("label", "Each source labels a part", "masks", "masks"),
    Reading("show", "Each source shows a part", "grid", "parts"),
)


def load(results: str = "results") -> dict[str, pd.DataFrame]:
    """Scores on photographs, of both readings by name.

    Raises:
        InputError: as `comparison.load`.
    """
    return {r.name: comparison.load(f"{results}/{r.folder}", DATA, "cars") for r in READINGS}


def of(cars: Mapping[str, pd.DataFrame], reading: Reading, labels: int, extra: str = "") -> pd.DataFrame:
    """The scores of one reading and number of labels, with an added source where ``extra`` names it."""
    return choose(cars[reading.name], reading.recipe + extra, labels)


def best_other(scores: pd.DataFrame) -> str | None:
    """The best variant, after the fact, that is neither ours nor among the other `RUNGS`."""
    return best_rival(scores[~scores["method"].isin(RUNGS)])


def ladder(cars: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rungs of both readings, with `FEW` labels: one row each, the lowest score of a reading first.

    Returns:
        Columns reading, method, dice, low, high (percent), seeds, other: whether it is `best_other`.
    """
    rows = []
    for reading in READINGS:
        scores = of(cars, reading, FEW)
        other = best_other(scores)
        table = comparison.summarise(scores[scores["method"].isin([*RUNGS, other])])
        rows.append(table.assign(reading=reading.name, other=table["method"] == other).sort_values("dice"))
    columns = ["reading", "method", "dice", "low", "high", "seeds", "other"]
    return pd.concat(rows, ignore_index=True)[columns]


@dataclass(frozen=True)
class Gap:
    """A paired difference in points, with words that follow from it."""

    mean: float
    low: float
    high: float

    def to(self, whom: str = "") -> str:
        """``29.8 points ahead of source combine (26.4 to 33.3)``; behind, or level with, by the interval."""
        ends = self.low, self.high
        if self.low > 0:
            return f"{self.mean:.1f} points ahead{_of(whom, 'of')} ({ends[0]:.1f} to {ends[1]:.1f})"
        if self.high < 0:
            return f"{-self.mean:.1f} points behind{_of(whom, '')} ({-ends[1]:.1f} to {-ends[0]:.1f})"
        return f"level{_of(whom, 'with')} ({signed(self.mean)}, {signed(ends[0])} to {signed(ends[1])})"

    def choose(self, ahead: str, level: str, behind: str) -> str:
        """One of three texts, by the interval."""
        return ahead if self.low > 0 else behind if self.high < 0 else level


def _of(whom: str, word: str) -> str:
    return f" {word} {whom}".replace("  ", " ") if whom else ""


def gap(scores: pd.DataFrame, first: str, second: str | None) -> Gap:
    """Score of ``first`` minus that of ``second`` in one setting.

    Raises:
        ValueError: one of them was not run there.
    """
    found = comparison.paired(scores, first, second or "")
    if not len(found) or np.isnan(found.loc[0, "difference"]):
        raise ValueError(f"{first} and {second} share no run")
    return Gap(*found.loc[0, ["difference", "low", "high"]].astype(float))


def signed(value: float) -> str:
    """A number with one decimal and a true minus sign."""
    return f"{value:+.1f}".replace("-", "−")


def percent(scores: pd.DataFrame, method: str) -> str:
    """`score_of` as tables print it."""
    return f"{score_of(scores, method):.1f}"


def score_of(scores: pd.DataFrame, method: str) -> float:
    """The mean Dice coefficient of a method in one setting over seeds and cars, in percent.

    Raises:
        ValueError: it was not run there.
    """
    rows = scores[scores["method"] == method]
    if not len(rows):
        raise ValueError(f"{method} was not run")
    return 100 * two_way_bootstrap(rows, draws=1).mean


def named(variant: str) -> str:
    """`variant_label` within a sentence, without a further comma: ``multi-head with 820 steps``."""
    first, _, changes = variant_label(variant).partition(", ")
    return first + (f" with {changes.replace(', ', ' and ')}" if changes else "")


Link = Callable[[str, str], str]  # words, and the name of one of `PLACES` -> Markdown


def sentences(cars: Mapping[str, pd.DataFrame], link: Link) -> list[str]:
    """Five sentences of Markdown: what came out, where, and by how much.

    Every number, every verdict and every name of a best rival follows from the tables; the words *ahead*,
    *level* and *behind* from where the paired 95 % interval lies.

    Args:
        cars: `load`.
        link: makes a link of words and of one of `PLACES`.
    """
    label, show = READINGS
    none, few = of(cars, label, 0), of(cars, label, FEW)
    against = {n: best_rival(s, among=rivals(s)) for n, s in ((0, none), (FEW, few))}
    knowing = {n: best_control(s) for n, s in ((0, none), (FEW, few))}
    ours = {n: gap(s, OURS, against[n]) for n, s in ((0, none), (FEW, few))}
    taken = gap(none, LITERAL, COMBINE), gap(few, LITERAL, ALONE)
    control = {n: gap(s, OURS, knowing[n]) for n, s in ((0, none), (FEW, few))}
    windows, many = of(cars, show, FEW), of(cars, show, MANY)
    pooled, literal, plus = (gap(windows, name, ALONE) for name in (COMBINE, LITERAL, OURS))
    lost, ensemble = gap(windows, LITERAL, COMBINE), gap(windows, OURS, ENSEMBLE)
    harmful = of(cars, show, FEW, "+harmful")
    plainest = best_rival(harmful, among=(COMBINE, ENSEMBLE))
    simpler = all(found.low <= 0 for found in control.values())
    carried = "parts are kept apart and joined, a sub-network for each is not needed"
    longest = best_rival(many, among=(COMBINE,))
    # Of the rounded scores, so that a reader who subtracts them finds the same.
    room = {n: float(percent(s, ALL)) - float(percent(s, ALONE)) for n, s in ((FEW, windows), (MANY, many))}
    return [
        f"**Where each source *labels* a part, the idea {ours[0].choose('works', 'is open', 'fails')}.** "
        "On photographs, without one label of the target, MSTL-plus reaches a Dice coefficient of "
        f"{percent(none, OURS)} %, {ours[0].to(named(against[0]))}, the best method that does not know that "
        f"sources label parts; with {FEW} labels {percent(few, OURS)} %, "
        f"{ours[FEW].to(named(against[FEW]))}. MSTL, the literal reading, is {taken[0].to('source combine')} "
        f"without labels and {taken[1].to('target only')} with {FEW}: "
        f"{link('the bars set beforehand', 'label')}.",
        f"**What carries it: {carried if simpler else 'sub-networks, more than simpler controls'}.** "
        "Two controls know only that sources label parts: MSTL-plus is "
        f"{control[0].to(named(knowing[0]))} without labels and {control[FEW].to(named(knowing[FEW]))} with "
        f"{FEW}: {link('pool, share or split', 'rule')}.",
        "**Where each source *shows* a part, "
        f"{pooled.choose('pool them', 'sources change little', 'sources harm')}.** "
        f"With {FEW} labels source combine, one network on all sources, is {pooled.to('target only')}; MSTL, "
        f"the literal reading, is {lost.to('source combine')} and {literal.to('target only')}: "
        f"{link('the bars set beforehand', 'show')}.",
        f"**There MSTL-plus {plus.choose('brings the gain back', 'is no clear gain', 'loses, too')}, and "
        f"{ensemble.choose('more than an ensemble', 'an ensemble does as much', 'an ensemble does more')}.** "
        f"It is {plus.to('target only')}, {ensemble.to('as many pooled networks')}, and with a harmful "
        f"source added {gap(harmful, OURS, plainest).to(named(plainest))}: "
        f"{link('what each ingredient does', 'ingredients')}.",
        f"**There {MANY} labels leave {room[MANY]:.1f} points to gain, {FEW} left {room[FEW]:.1f}.** "
        f"With {MANY} ({many['seed'].nunique()} seeds) target only has {percent(many, ALONE)} %, MSTL-plus "
        f"{percent(many, OURS)} %, {named(longest)} {percent(many, longest)} %, and the oracle, which "
        f"has all target masks, {percent(many, ALL)} %: {link('how far it goes', 'far')}.",
    ]


# Where the sentences point to: page and anchor in the book.
PLACES = {
    "label": ("notebooks/14_labelled_parts", "the-bars"),
    "rule": ("notebooks/16_pool_or_split", ""),
    "show": ("notebooks/07_comparison", "the-bars-and-whether-they-are-reached"),
    "ingredients": ("notebooks/08_ablation", ""),
    "far": ("notebooks/15_how_far", "how-many-labels"),
}


def advice(cars: Mapping[str, pd.DataFrame]) -> list[str]:
    """What to do on Monday, three lines of Markdown with the differences that speak for them."""
    label, show = READINGS
    none, few = of(cars, label, 0), of(cars, label, FEW)
    windows, many = of(cars, show, FEW), of(cars, show, MANY)
    harmful = of(cars, show, FEW, "+harmful")
    plainest = best_rival(harmful, among=(COMBINE, ENSEMBLE))
    pooled = {n: best_rival(s, among=(COMBINE,)) for n, s in ((0, none), (FEW, few))}
    heads = gap(none, best_rival(none, among=("multi_head",)), pooled[0])
    unlabelled = gap(few, "positive_unlabelled", pooled[FEW])
    taught, best = best_rival(windows, among=(COMBINE, ENSEMBLE)), best_rival(many, among=(COMBINE,))
    return [
        "**Sources contradict each other**, each was labelled for another part: give each a head of its own "
        f"and take their union (`multi_head`), without labels {heads.to(named(pooled[0]))}; with {FEW} "
        "labels take background for unlabelled (`positive_unlabelled`), "
        f"{unlabelled.to(named(pooled[FEW]))}.",
        f"**Sources agree**, each shows another part: {named(taught)}, "
        f"{gap(windows, taught, ALONE).to('target only')}. With a harmful source added, MSTL-plus "
        f"is {gap(harmful, OURS, plainest).to(named(plainest))}.",
        f"**You can label {MANY} images**: do that first. {percent(many, ALONE)} % come from them alone; "
        f"{named(best)} brings it to {percent(many, best)} %, all target masks to {percent(many, ALL)} %.",
    ]


def rung_label(method: str, other: bool) -> tuple[str, str]:
    """Name of a rung, with a star for `best_other`, and what it is, for the chart."""
    what = {
        ALONE: "its labelled images alone",
        COMBINE: "one network, all sources",
        ENSEMBLE: "as many such networks",
        LITERAL: "the literal reading",
        OURS: "our best reading",
        ALL: "all target masks",
    }
    if other:
        variant = Variant.parse(method)
        taught = ["mean teacher"] if variant.mean_teacher else []
        longer = [f"{variant.steps} steps"] if variant.steps else []
        return f"{method_label(variant.method)} *", ", ".join(taught + longer) or "best of the rest"
    return method_label(method), what[method]
