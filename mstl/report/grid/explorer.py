"""What the pages' own controls show: every setting of every sweep, summarised as the pages summarise it.

`script` is the file that ``explorer.js`` loads: a script and no JSON, because a page opened from a disk may
not fetch anything.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from mstl.methods.catalogue import described
from mstl.report import bootstrap, scores
from mstl.report.comparisons import COMPARISON, name_of
from mstl.report.family import bars
from mstl.report.grid import comparison
from mstl.report.grid.switches import in_words
from mstl.run import names
from mstl.run.names import Variant

REFERENCES = ("source_combine", "target_only", comparison.OURS)
# Folder of tables -> what readers call it, and its page.
COLLECTIONS = {
    "grid": ("sources that show parts", "notebooks/07_comparison"),
    "masks": ("sources that label parts", "notebooks/14_labelled_parts"),
    "larger": ("the default comparison, larger", "notebooks/06_results"),
    "strip": ("one seed, whose masks are shown", "notebooks/07_comparison"),
    "encoders": ("sources that show parts, from ImageNet", "notebooks/07_comparison"),
    "thin": ("vessels and cracks", "notebooks/15_how_far"),
    "gpu": ("full size, on a GPU", "notebooks/12_gpu"),
    "family": ("partial targets and kernels", "notebooks/17_partial"),
    "starting": ("from a trained network", "notebooks/19_worth_keeping"),
    "teachers": ("several trained networks", "notebooks/20_several_teachers"),
    "inherited": ("a source that nobody may see", "notebooks/21_unseen_source"),
    "relations": ("relations", "notebooks/22_relations"),
    "distant": ("distant pairs", "notebooks/23_strangers"),
    "common": ("every system on one task", "notebooks/24_family"),
}
DATA = {"carparts": "photographs (carparts)", "studio": "rendered cars (studio)"}


def tables(folder: Path, data: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores and runs of one data set of a sweep, named and pooled as on the sweep's page.

    Raises:
        InputError: a table is missing, damaged, or holds nothing that is reported.
    """
    cars, runs = (
        bars.alike(comparison.reported(comparison.load(str(folder), data, name), name))
        for name in ("cars", "runs")
    )
    halves = bars.half_pairs(cars)
    if halves["recipe"].size and cars["recipe"].nunique() > 1:
        spent = runs[runs["recipe"].map(lambda recipe: bool(bars.HALF.fullmatch(recipe))).astype(bool)]
        cars, runs = pd.concat([cars, halves]), pd.concat([runs, spent.assign(recipe=bars.POOLED)])
    return cars, runs


def views(cars: pd.DataFrame, runs: pd.DataFrame) -> list[dict]:
    """One entry a setting: rows of `comparison.summarise`, and of `comparison.paired` to each reference.

    Args:
        cars: scores of one data set.
        runs: its runs, for seconds.
    """
    seconds = runs.groupby([*COMPARISON, "method"])["seconds"].mean()
    found = []
    for key, chosen in cars.groupby(COMPARISON, sort=True):
        table = comparison.summarise(chosen).set_index("method").sort_values(scores.score(chosen))
        plain = _plainest(table.index)
        references = [name for name in plain if comparison.family(name) in REFERENCES]
        minus = {name: _minus(chosen, table.index, name) for name in references}
        if comparison.LITERAL in table.index:  # what its own switches do
            own = [name for name in table.index if comparison.family(name) == comparison.LITERAL]
            minus[comparison.LITERAL] = _minus(chosen, own, comparison.LITERAL)
        rows = [
            {
                "method": method,
                "main": method in plain,
                "mean": row[scores.score(chosen)],
                **{name: row[name] for name in ("low", "high", "sd", "seeds")},
                "seconds": seconds[(*key, method)],
                "minus": {name: to[method] for name, to in minus.items() if method in to and name != method},
            }
            for method, row in table.iterrows()
        ]
        setting = dict(zip(COMPARISON, key, strict=True)) | {"score": scores.title(chosen)}
        found.append(setting | {"references": references, "rows": rows})
    return found


def _plainest(variants: pd.Index) -> list[str]:
    """Of every method the variants with the fewest changes."""
    fewest: dict[str, int] = {}
    for v in map(Variant.parse, variants):
        fewest[v.method] = min(len(v.changes), fewest.get(v.method, len(v.changes)))
    return [name for name in variants if len(Variant.parse(name).changes) == fewest[comparison.family(name)]]


def _minus(cars: pd.DataFrame, variants: Iterable[str], reference: str) -> dict[str, list[float] | None]:
    """Difference, low, high and shared seeds of every variant; None where they share none."""
    found: dict[str, list[float] | None] = {}
    for variant in variants:
        row = comparison.paired(cars, variant, reference).iloc[0]
        numbers = [row[name] for name in ("difference", "low", "high", "seeds")]
        found[variant] = numbers if row["seeds"] else None
    return found


def described_methods(found: list[dict]) -> dict[str, dict[str, str]]:
    """Label, role, method and changes in words of every variant in ``found``."""
    variants = sorted({row["method"] for view in found for row in view["rows"]})
    return {
        name: {
            "label": comparison.variant_label(name),
            "role": described(comparison.family(name)).role,
            "family": comparison.family(name),
            "change": in_words(Variant.parse(name).change),
        }
        for name in variants
    }


def everything(results: Path, cache: Path) -> dict:
    """All that the controls show, of the tables in ``results``; numbers known already are in ``cache``."""
    found = []
    for path in sorted(results.glob("*/*/cars.csv")):
        folder, data = path.parents[1], path.parent.name
        if not folder.name.endswith("tuning"):  # their seeds are reported nowhere
            found += [{"collection": folder.name} | view for view in _cached(folder, data, cache)]
    order = [*COLLECTIONS, *sorted({view["collection"] for view in found} - set(COLLECTIONS))]
    found.sort(key=lambda view: order.index(view["collection"]))
    there = {view["collection"] for view in found}
    titles = {name: COLLECTIONS.get(name, (name, "")) for name in order if name in there}
    return {
        "collections": {name: {"title": title, "page": page} for name, (title, page) in titles.items()},
        "data": DATA,
        "methods": described_methods(found),
        "views": found,
    }


def script(results: Path, cache: Path) -> str:
    """The file that pages load."""
    text = json.dumps(everything(results, cache), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"window.MSTL_RESULTS = {text};\n"


def switchboard(collection: str, base: str = comparison.OURS) -> str:
    """HTML that ``explorer.js`` makes a choice among the switches of ``base``; words where there is none."""
    words = "In the book a choice of switches stands here. The figure below shows all of them at once."
    return f'<div class="mstl-switchboard" data-collection="{collection}" data-base="{base}">{words}</div>'


def links(cars: pd.DataFrame, collection: str, page: str = "../book/explorer.html") -> str:
    """A Markdown list of every setting in a table: its number of methods, linked to the explorer's view."""
    lines = []
    for (data, recipe, labels), rows in comparison.reported(cars, "cars").groupby(
        ["data", "recipe", "labels"]
    ):
        place = "/".join(quote(str(part)) for part in (collection, data, recipe, labels))
        name = name_of({"data": data, "recipe": recipe, "labels": labels})
        number = rows["method"].nunique()
        lines.append(f'* <a href="{page}#{place}">{name}</a>: {number} row{"s" if number > 1 else ""}')
    return "\n".join(lines)


def kept_as(folder: Path, data: str, cache: Path) -> Path:
    """The file of the numbers of one data set; its name tells its tables and the code of the numbers."""
    digest = hashlib.sha256("".join(map(inspect.getsource, OF_NUMBERS)).encode())
    for name in ("cars", "runs"):
        digest.update((folder / data / f"{name}.csv").read_bytes())
    return cache / f"{folder.name}-{data}-{digest.hexdigest()[:16]}.json"


def _cached(folder: Path, data: str, cache: Path) -> list[dict]:
    """`views` of one data set, computed where its tables or the code of the numbers have changed."""
    kept = kept_as(folder, data, cache)
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob(f"{folder.name}-{data}-{'[0-9a-f]' * 16}.json"):
            old.unlink()
        # Through pandas, which makes nan a null and NumPy's numbers plain ones.
        frame = pd.Series(views(*tables(folder, data)))
        kept.write_text(frame.to_json(orient="values", double_precision=6, force_ascii=False), "utf-8")
    return json.loads(kept.read_text("utf-8"))


# The code that decides the numbers, beside the tables: a new sentence elsewhere computes nothing again.
OF_NUMBERS = (
    *(bootstrap, scores, names, bars.alike, bars.half_pairs, tables, views, _plainest, _minus),
    *(comparison.load, comparison.reported, comparison.summarise, comparison.paired, comparison._difference),
)
