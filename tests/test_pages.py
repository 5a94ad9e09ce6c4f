"""Pages 06 to 09 on any part of the results: no traceback, nothing averaged that is not alike, gaps said."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import format_display_data
from IPython.display import Markdown
from test_comparison import grid, write

import pair
from mstl.report import plots, results
from mstl.report.bootstrap import paired_difference, two_way_bootstrap
from mstl.report.comparisons import COMPARISON
from mstl.report.grid import comparison
from mstl.report.grid import figures as draw
from mstl.report.local import diagnosis, figures
from mstl.report.results import RUN_KEYS
from mstl.report.scores import scores_of
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("target_only", "source_combine", "mstl", "mstl_plus", "oracle")


def executed(page: str, **parameters: object) -> str:
    """Run the cells of a page in this process; returns what they show, as text."""
    shown: list[object] = []
    names = {"display": lambda *values: shown.extend(values)}
    for cell in pair.read(ROOT / "notebooks" / f"{page}.py").cells:
        if cell.cell_type != "code" or "colab" in cell.metadata.get("tags", []):
            continue
        tree = ast.parse(cell.source.replace("from IPython.display import Markdown, display", MARKDOWN))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, page, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), page, "eval"), names))
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters
        shown += [text.get_text() for number in plt.get_fignums() for text in _texts(plt.figure(number))]
        plt.close("all")
    return "\n".join(_text(value) for value in shown if value is not None)


MARKDOWN = "from IPython.display import Markdown"


def _texts(figure: plt.Figure) -> list:
    return [
        text for ax in figure.axes for text in (*ax.texts, ax.title, ax._left_title, *ax.get_yticklabels())
    ]


def _text(value: object) -> str:
    if isinstance(value, Markdown):
        return value.data
    if isinstance(value, pd.DataFrame):
        return value.to_string()
    return value if isinstance(value, str) else format_display_data(value)[0].get("text/plain", "")


def default(
    methods=METHODS, labels=(8,), recipes=("parts",), seeds=(0, 1), data="studio", profile="quick", **other
) -> dict[str, pd.DataFrame]:
    """Tables ``runs``, ``images`` and ``curves`` of `make reproduce`, small: Dice is a method's own number.

    With more labels it rises by a tenth, with another recipe it falls, so that averages over them are seen.
    """
    runs, images, curves = [], [], []
    for place, recipe in enumerate(recipes):
        for number in labels:
            for method in methods:
                for seed in seeds:
                    key = dict(zip(RUN_KEYS, (data, recipe, 3, method, number, seed, profile), strict=True))
                    level = 0.5 + number / 80 - place / 10 + 0.02 * list(METHODS).index(method)
                    dice = level + np.array([0.01, 0.03, 0.01, 0.03])
                    views = {"car": ["a", "a", "b", "b"], "view": other.get("views", [1, 2, 1, 2])}
                    scored = pd.DataFrame(key | views | {"dice": dice, "iou": dice / 2})
                    if other.get("parts", True):
                        scored["recall_front"] = dice
                    images.append(scored)
                    runs.append(key | RUN | {"dice": dice.mean(), "iou": dice.mean() / 2})
                    logged = {"step": [10, 20], "progress": [0.5, 1.0], "seconds": [1.0, 2.0]}
                    logged |= dict.fromkeys(other.get("logged", ("loss_target", "loss_source")), level)
                    if "mstl" in method:
                        logged |= {"discriminator_accuracy": 0.6, "gradient_ratio": 0.1}
                    curves.append(pd.DataFrame(key | logged))
    tables = {"images": pd.concat(images), "curves": pd.concat(curves)}
    return {"runs": pd.DataFrame(runs)} | {k: table.reset_index(drop=True) for k, table in tables.items()}


RUN = dict(validation_dice=0.8, images=4, cars=2, domain_probe=0.8, parameters=1000, steps=20, seconds=9.0)
RUN |= dict(peak_memory_gib=0.5, device="CPU", precision="32-true", commit="0123456789ab")
RUN |= dict(data_fingerprint="ab", command="python -m mstl train")


def saved(folder: Path, *parts: dict[str, pd.DataFrame]) -> str:
    """The tables as `mstl.report.results.collect` leaves them; returns the folder of all data."""
    for name in ("runs", "images", "curves"):
        table = pd.concat([part[name] for part in parts], ignore_index=True)
        for data, rows in table.groupby("data"):
            (folder / data).mkdir(parents=True, exist_ok=True)
            rows.to_csv(folder / data / f"{name}.csv", index=False)
    return str(folder)


def of_classes(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same numbers as accuracies."""
    names = {"dice": "accuracy", "iou": "macro_accuracy"}
    images = tables["images"].drop(columns="iou").rename(columns=names)
    return tables | {"runs": tables["runs"].rename(columns=names), "images": images}


# What was run, and what the page says of it.
SUBSETS: dict[str, tuple[Callable[[], list], tuple[str, ...]]] = {
    "no references": (
        lambda: [default(("mstl", "source_combine"), logged=("loss_source",))],
        ("cannot be said: not run: target only, oracle", "MSTL is **better than** source combine"),
    ),
    "none of ours": (
        lambda: [default(("target_only", "source_combine"))],
        ("No model of ours", "no model of ours beside another", "no method here has a discriminator"),
    ),
    "one method": (lambda: [default(("mstl",))], ("No model of ours was run beside another method",)),
    "several labels": (
        lambda: [default(labels=(4, 8), seeds=(0,))],
        ("4 labels: Between", "8 labels: Between", "**4 labels**", "MSTL-plus, 8 labels"),
    ),
    "several of everything": (
        lambda: [
            default(("mstl", "oracle"), recipes=("parts", "parts+harmful", "views"), seeds=(0,)),
            default(("mstl", "oracle"), (4,), seeds=(0,), profile="full"),
        ],
        ("parts+harmful, 8 labels, profile quick", "views, 8 labels", "parts, 4 labels, profile full"),
    ),
    "own pictures, two of a group without views": (
        lambda: [default(data="folder", recipes=("own",), views=0, parts=False)],
        ("these data have no part maps", "MSTL is **better than** source combine: +2.0 Dice points"),
    ),
    "classes": (
        lambda: [of_classes(default(data="digits", recipes=("to-handwritten",), parts=False))],
        ("mean of the classes", "MSTL is **better than** source combine: +2.0 accuracy points"),
    ),
    "seeds of one side only": (
        lambda: [
            default(("mstl",)),
            default(("oracle",), seeds=(1, 2)),
            default(("target_only",), seeds=(5,)),
        ],
        ("(without 2 seeds that only one of them has)", "MSTL and target only share no seed"),
    ),
}


@pytest.mark.parametrize("what", SUBSETS)
def test_the_page_of_results_shows_any_part_of_them(what, tmp_path):
    tables, expected = SUBSETS[what]
    text = executed("06_results", folder=saved(tmp_path, *tables()), data=tables()[0]["runs"]["data"][0])
    for line in expected:
        assert line in text, text
    table = {float(dice) for dice in re.findall(r"(\d\d\.\d) +\d\d\.\d to \d\d\.\d", text)}
    single = scores_of(pd.concat([part["runs"] for part in tables()]))
    assert table <= set((100 * single).round(1)) and table, "each of one comparison, none in between"


GROUPED_BY_METHOD: dict[str, Callable[[dict[str, pd.DataFrame]], object]] = {
    "interval": lambda t: two_way_bootstrap(of("mstl", t["images"])),
    "paired difference": lambda t: paired_difference(*(of(m, t["images"]) for m in ("mstl", "oracle"))),
    "headroom": lambda t: results.headroom(t["images"]),
    "differences": lambda t: results.differences(t["images"], METHODS),
    "curves": lambda t: plots.curves(t["curves"], "loss_source", plt.gca(), ""),
    "curves over progress": lambda t: draw.curves_over_progress(t["curves"], "loss_source", plt.gca(), ""),
    "best rival": lambda t: comparison.best_rival(t["images"]),
    "gap": lambda t: comparison.gap_of(t["images"]),
    "cars": lambda t: draw.per_car_strip({"mstl": t["images"].assign(difference=1)}, {"mstl": NOTHING}),
    "probe": lambda t: draw.probe_dots(t["runs"]),
    "time": lambda t: draw.time_against_score(comparison.summarise(t["images"]), t["runs"]),
    "training": lambda t: figures.auc_over_training(of("mstl", t["curves"])),
    "attention": lambda t: figures.auc_matrix(t["curves"]),
    "sub-networks": lambda t: figures.head_recall(t["images"]),
    "distances": lambda t: figures.distances(t["runs"]),
    "words": lambda t: diagnosis.heads_verdict(t["images"]),
}
NOTHING = {"low": 0.0, "high": 0.0, "difference": 0.0}
OTHERWISE = {"data": "folder", "recipe": "parts~front", "sources": 2, "labels": 4, "profile": "full"}


def of(method: str, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["method"] == method]


@pytest.mark.parametrize("column", COMPARISON)
def test_what_differs_in_more_than_the_method_is_never_averaged(column):
    """Whatever groups by method refuses several comparisons; whatever takes several has a row for each."""
    one = default()
    both = {k: pd.concat([t, t.assign(**{column: OTHERWISE[column]})]) for k, t in one.items()}
    for function in GROUPED_BY_METHOD.values():
        with pytest.raises(InputError, match=f"several {column} .* would be averaged"):
            function(both)
    for table in (results.cost_table, results.probe_table):
        assert len(table(both["runs"])) == 2 * len(table(one["runs"])) == 2 * len(METHODS)
    assert len(results.score_table(both["runs"], both["images"])) == 2 * len(METHODS)
    for figure in (plots.score_intervals, plots.part_recall_heatmap, plots.difference_intervals):
        assert len(axes(figure(both["images"]))) == 2 * len(axes(figure(one["images"])))
    plt.close("all")


def axes(figure: plt.Figure) -> list[plt.Axes]:
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def test_no_two_methods_are_averaged_either():
    with pytest.raises(InputError, match="several method"):
        two_way_bootstrap(default()["images"])


def test_a_pair_is_an_image_where_groups_have_several_pictures_without_views():
    """Paired by its place in its group: the same pictures in the same order on both sides."""
    first = pd.DataFrame({"seed": 0, "car": list("aab"), "view": 0, "dice": [0.5, 0.7, 0.9]})
    interval = paired_difference(first, first.assign(dice=first["dice"] - 0.25), draws=50)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(InputError, match="the same images"):
        paired_difference(first, first.assign(car=list("abb")))


def test_methods_that_saw_other_data_are_never_compared(tmp_path):
    other = default(("source_combine",))
    other["runs"]["data_fingerprint"] = "cd"
    with pytest.raises(InputError, match=r"saw different data: mstl \(ab\), source_combine \(cd\)"):
        results.load(saved(tmp_path, default(("mstl",)), other), "studio", "runs")


GRIDS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "one method": (dict(methods={"mstl": (3, -2, 110)}), ("not run",)),
    "own data": (
        dict(settings=[("folder", "own", 2, 2), ("folder", "own", 2, 6)]),
        ("parts with 4 labels was not run here; shown in its place: own with 2 labels.",),
    ),
    "only changes of ours": (dict(methods={"mstl_plus+attention=none": (9, 0, 1)}), ("not run",)),
    "no labels": (dict(settings=[("studio", "views-styled", 3, 0)]), ("views-styled with 0 labels",)),
}


@pytest.mark.parametrize("page", ["07_comparison", "08_ablation", "09_local_features"])
@pytest.mark.parametrize("what", GRIDS)
def test_pages_of_a_sweep_show_any_part_of_it(page, what, tmp_path):
    options, expected = GRIDS[what]
    small = SMALL | options
    data = small["settings"][0][0]
    write(tmp_path, data, grid(**small))
    text = executed(page, folder=str(tmp_path), data=data)
    for line in expected if page != "09_local_features" else ("has been diagnosed yet",):
        assert line in text, text


SMALL = dict(settings=[("studio", "parts", 3, 4)], seeds=(0, 1), cars=3)


@pytest.mark.parametrize("page", ["07_comparison", "08_ablation", "09_local_features"])
def test_runs_of_another_profile_or_number_of_sources_change_nothing_but_are_named(page, tmp_path):
    alone, few = grid(**SMALL), grid(**SMALL | {"seeds": (0,), "cars": 2})
    tables = {
        name: pd.concat([alone[name], table.assign(sources=4), table.assign(profile="full")])
        for name, table in few.items()
    }
    write(tmp_path / "alone", "studio", alone)
    write(tmp_path / "mixed", "studio", tables)
    expected, text = (executed(page, folder=str(tmp_path / name)) for name in ("alone", "mixed"))
    sentence = " Not shown, because most runs are otherwise: parts (J = 4, profile grid), "
    sentence += "parts (J = 3, profile full)."
    assert (sentence in text) == (page != "09_local_features")  # which names diagnosed runs only
    assert text.replace(sentence, "") == expected
