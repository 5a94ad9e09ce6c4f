"""Pool, share or split? What to take, by what one has, each line with the difference that it makes."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from mstl.report.comparisons import COMPARISON
from mstl.report.grid import comparison
from mstl.report.grid.comparison import OURS, best_rival, variant_label

POOLED = ("source_combine", "dann", "mdan_soft")  # one network on all sources
SPLIT = (OURS,)
HEADS = ("multi_head",)  # one network with a head for each source, joined by their union
UNLABELLED = ("positive_unlabelled",)
ALONE = ("target_only",)


@dataclass(frozen=True)
class Branch:
    """One line of the rule.

    Attributes:
        have: what one has, in words.
        take: what to take then, in words.
        methods: of which the best variant is taken.
        instead: of which the best variant is what it is compared with.
        recipe, labels: where it was measured.
    """

    have: str
    take: str
    methods: tuple[str, ...]
    instead: tuple[str, ...]
    recipe: str
    labels: int


PARTS, FOUR = "sources that label parts, no target label", "sources that label parts, 4 target labels"
STYLED = "sources that label parts, each in a style of its own, no target label"
WHOLE = "sources that show parts and label all of them, 4 labels"
RULE = (
    Branch(PARTS, "a head for each source, union", HEADS, POOLED, "masks", 0),
    Branch(PARTS, "these heads on one network", HEADS, SPLIT, "masks", 0),
    Branch(PARTS, "at least sub-networks", SPLIT, POOLED, "masks", 0),
    Branch(PARTS, "or background as unlabelled", UNLABELLED, POOLED, "masks", 0),
    Branch(FOUR, "a head for each source, union", HEADS, POOLED, "masks", 4),
    Branch(FOUR, "these heads on one network", HEADS, SPLIT, "masks", 4),
    Branch(FOUR, "at least sub-networks", SPLIT, POOLED, "masks", 4),
    Branch(FOUR, "or background as unlabelled", UNLABELLED, POOLED, "masks", 4),
    Branch(FOUR, "that rather than sub-networks", UNLABELLED, SPLIT, "masks", 4),
    Branch(FOUR, "sources beside the target", SPLIT, ALONE, "masks", 4),
    Branch(STYLED, "sub-networks with an adversary", SPLIT, HEADS, "masks-styled", 0),
    Branch(STYLED, "and not one pot", SPLIT, POOLED, "masks-styled", 0),
    Branch(WHOLE, "pool", POOLED, SPLIT, "parts", 4),
    Branch("the same, no target label", "pool", POOLED, SPLIT, "parts", 0),
    Branch("the same, one source not to be trusted", "split", SPLIT, POOLED, "parts+harmful", 4),
    Branch("the same, 32 target labels", "pool, still", POOLED, ALONE, "parts", 32),
)


def rule_table(cars: pd.DataFrame, draws: int = comparison.DRAWS) -> pd.DataFrame:
    """Every branch of `RULE` on all data it was measured on.

    The best variant of each side is chosen after the fact, on the scores that are compared, and `OURS` is
    taken as it is: that favours the side with more variants, most of all against `OURS`.

    Args:
        cars: scores of all data, `mstl.report.grid.comparison.everything`, of several folders together.

    Returns:
        Columns have, take, data, compared (the two variants), difference, low, high, seeds, holds: yes where
        the interval is above 0, no where it is below, else open.
    """
    rows = []
    for branch in RULE:
        there = cars[(cars["recipe"] == branch.recipe) & (cars["labels"] == branch.labels)]
        for key, scores in there.groupby(COMPARISON, sort=True):
            ours, other = (best_of(scores, names) for names in (branch.methods, branch.instead))
            if ours is None or other is None:
                continue
            found = comparison.paired(scores, ours, other, draws).iloc[0]
            low, high = found["low"], found["high"]
            rows.append(
                {
                    "have": branch.have,
                    "take": branch.take,
                    "data": dict(zip(COMPARISON, key, strict=True))["data"],
                    "compared": f"{variant_label(ours)} − {variant_label(other)}",
                    **{name: found[name] for name in ("difference", "low", "high", "seeds")},
                    "holds": "yes" if low > 0 else "no" if high < 0 else "open",
                }
            )
    columns = ["have", "take", "data", "compared", "difference", "low", "high", "seeds", "holds"]
    return pd.DataFrame(rows, columns=columns)


def rule_answer(rule: pd.DataFrame) -> str:
    """One sentence of Markdown: how many lines of `rule_table` hold, which are open, which do not."""
    held = rule["holds"].value_counts()
    counts = [f"{held.get('open', 0)} are open", f"{held.get('no', 0)} do not hold"]
    return (
        "Pool sources that agree. Where each *labels* a part, give each a head and join the heads. "
        f"**{held.get('yes', 0)} of {len(rule)} comparisons behind this rule bear it out**, "
        f"{' and '.join(counts)}."
    )


def best_of(scores: pd.DataFrame, methods: tuple[str, ...]) -> str | None:
    """The variant of some methods with the highest score in one setting; of ours the unchanged one."""
    if OURS in methods:
        return OURS if OURS in set(scores["method"]) else None
    return best_rival(scores, among=methods)
