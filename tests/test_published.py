"""What papers report beside what was measured: the right number in each row, or none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from sklearn.datasets import dump_svmlight_file
from test_pages import RUN, executed

import run
import sweep_file
from command_line import Options
from mstl.methods.catalogue import METHODS
from mstl.report.published import references, text, variants
from mstl.report.published import table as published
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "results/published"
PAPER, OTHER = "Paper A", "Paper B"
TASKS = ("to-books", "to-dvd")


def runs(values: dict[tuple, list[float]]) -> pd.DataFrame:
    """Rows of ``runs.csv`` by (recipe, method, profile, labels): the accuracy of each seed in percent."""
    rows = []
    for (recipe, method, profile, labels), scores in values.items():
        key = {"data": "amazon", "recipe": recipe, "sources": 3, "method": method, "labels": labels}
        for seed, score in enumerate(scores):
            if not np.isnan(score):
                rows.append(key | RUN | {"seed": seed, "profile": profile, "accuracy": score / 100})
    return pd.DataFrame(rows).rename(columns={"validation_dice": "validation_accuracy"})


def saved(
    folder: Path, values: dict[tuple, list[float]], anchors: list[tuple], place: str = "amazon"
) -> Path:
    """A folder with runs, anchors (benchmark, task, method, ours, published) and two papers' protocols."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    if values:
        runs(values).to_csv(folder / place / "runs.csv", index=False)
    columns = ["benchmark", "task", "method", "ours", "published"]
    table = pd.DataFrame(anchors, columns=columns).assign(data="amazon", recalled="")
    table.to_csv(folder / "anchors.csv", index=False)
    protocols = {"benchmark": [PAPER, OTHER], "data": "amazon", "profile": ["mdan", "multi-epl"]}
    protocols |= {"source": "zhao2018mdan", "table": "Table 1", "protocol": "theirs", "deviations": "none"}
    pd.DataFrame(protocols).to_csv(folder / "protocols.csv", index=False)
    return folder


def test_every_published_number_stands_beside_the_runs_of_its_own_task_method_and_protocol(tmp_path):
    """All accuracies differ, so a number in a wrong row is seen; labels and changed methods are decoys."""
    level = iter(range(100))
    profiles = {PAPER: "mdan", OTHER: "multi-epl"}
    values = {
        (task, method, profile, labels): [60 + 0.1 * next(level)] * 2
        for task in TASKS
        for method in ("dann", "dann+strength=1", "source_combine")
        for profile in profiles.values()
        for labels in (0, 8)
    }
    ours = {"cDANN": "dann", "MLP": "source_combine"}
    anchors = [
        (paper, task, method, name, 70 + 0.1 * next(level))
        for paper in profiles
        for task in TASKS
        for method, name in ours.items()
    ]
    table = published.joined(saved(tmp_path, values, anchors))
    single = table[table["published"].notna() & (table["task"] != "mean")]
    assert len(single) == len(anchors)
    rows = {(row.benchmark, row.task, row.method): row for row in single.itertuples()}
    for paper, task, method, name, number in anchors:
        row = rows[paper, task, method]
        assert (row.published, row.variant, row.seeds) == (pytest.approx(number), name, 2)
        assert row.ours == pytest.approx(values[task, name, profiles[paper], 0][0])
        assert row.difference == pytest.approx(row.ours - number)
    means = table[table["published"].notna() & (table["task"] == "mean")]
    for row in means.itertuples():
        both = single[(single["benchmark"] == row.benchmark) & (single["method"] == row.method)]
        assert (row.published, row.ours) == pytest.approx((both["published"].mean(), both["ours"].mean()))
    # What has no published number is in the table, too, once, and in rows of its own.
    besides = table[table["published"].isna() & (table["task"] != "mean")]
    assert len(single) + len(besides) == len(values)
    assert sorted(single["ours"].tolist() + besides["ours"].tolist()) == pytest.approx(
        sorted(v[0] for v in values.values())
    )


ONE = {("to-books", "dann", "mdan", 0): [80.0, 82.0]}


@pytest.mark.parametrize(
    "runs_of",
    [
        {("to-books", "dann", "grid", 0): [80.0]},
        {("to-books", "dann", "mdan", 8): [80.0]},
        {("to-books", "dann+strength=1", "mdan", 0): [80.0]},
        {("to-dvd", "dann", "mdan", 0): [80.0]},
        {},
    ],
    ids=["profile", "labels", "variant", "task", "none"],
)
def test_other_runs_leave_a_published_number_alone(runs_of, tmp_path):
    table = published.joined(saved(tmp_path, runs_of, [(PAPER, "to-books", "cDANN", "dann", 81.0)]))
    row = table[table["published"].notna()].iloc[0]
    assert np.isnan(row["ours"]) and (row["verdict"], row["seeds"]) == (published.NOT_RUN, 0)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(79.5, "within 1.5"), (79.49, "above"), (82.5, "within 1.5"), (82.51, "below"), (81.0, "within 1.5")],
)
def test_the_verdict_flips_at_a_point_and_a_half(number, expected, tmp_path):
    table = published.joined(saved(tmp_path, ONE, [(PAPER, "to-books", "cDANN", "dann", number)]))
    assert table["verdict"].tolist() == [expected]
    said = text.summary(table)
    assert ("**1 of 1 published means" in said) == (expected == "within 1.5")
    assert ("the reason is not found" in said) == (expected != "within 1.5")


def test_an_interval_is_that_of_the_t_distribution_over_seeds():
    """80 and 82: s = √2, t = 12.706 with one degree of freedom, so 12.706 to both sides of 81."""
    assert published.interval(pd.Series([80.0, 82.0])) == pytest.approx((81, 81 - 12.7062, 81 + 12.7062))
    assert np.isnan(published.interval(pd.Series([80.0]))[1:]).all()
    assert published.interval(pd.Series([80.0], index=[-1])) == (80, 80, 80)


def test_a_mean_needs_every_task_and_is_formed_on_the_seeds_that_all_have(tmp_path):
    anchors = [(PAPER, task, name, name, 80.0) for task in TASKS for name in ("dann", "dctn", "m3sda")]
    values = {
        ("to-books", "dann", "mdan", 0): [80.0, 82.0, 99.0],
        ("to-dvd", "dann", "mdan", 0): [70.0, 76.0, np.nan],
        ("to-books", "dctn", "mdan", 0): [80.0],
        ("to-books", "m3sda", "mdan", 0): [80.0, np.nan],
        ("to-dvd", "m3sda", "mdan", 0): [np.nan, 80.0],
    }
    table = published.joined(saved(tmp_path, values, anchors))
    means = table[table["task"] == "mean"].set_index("method")
    assert (means["ours"]["dann"], means["seeds"]["dann"]) == (pytest.approx(77.0), 2)
    low, high = means.loc["dann", ["low", "high"]]
    assert (low, high) == pytest.approx((77 - 2 * 12.7062, 77 + 2 * 12.7062))  # 75 and 79
    assert means["verdict"][["dctn", "m3sda"]].tolist() == [published.NOT_RUN] * 2


def test_a_star_takes_the_best_and_says_which(tmp_path):
    values = {
        (f"{source}-to-books", "dann", "mdan", 0): [score, score]
        for source, score in (("dvd", 75.0), ("kitchen", 77.0), ("electronics", 76.0))
    }
    values |= {("kitchen-to-dvd", "dann", "mdan", 0): [99.0], ("to-books", "dann", "mdan", 0): [98.0]}
    table = published.joined(saved(tmp_path, values, [(PAPER, "to-books", "sDANN", "*-to-books/dann", 76.5)]))
    row = table[table["method"] == "sDANN"].iloc[0]
    assert (row["variant"], row["ours"]) == ("kitchen-to-books/dann", pytest.approx(77.0))


def test_a_method_that_is_called_as_a_paper_calls_another_has_a_row_of_its_own(tmp_path):
    values = {("to-books", name, "mdan", 0): [score] * 2 for name, score in (("m3sda", 70), ("dctn", 75))}
    table = published.joined(saved(tmp_path, values, [(PAPER, "to-books", "M3SDA", "dctn", 76.0)]))
    assert dict(zip(table["method"], table["ours"], strict=True)) == pytest.approx({"M3SDA": 75, "m3sda": 70})


def test_a_reason_is_written_or_computed_and_stands_only_where_one_is_needed(tmp_path):
    anchors = [(PAPER, "to-books", name, name, number) for name, number in (("dann", 70.0), ("dctn", 90.0))]
    anchors += [(PAPER, "to-books", "m3sda", "m3sda", 80.0)]
    values = {("to-books", name, "mdan", 0): [80.0, 80.0] for name in ("dann", "dctn", "m3sda")}
    folder = saved(tmp_path, values, anchors)
    reasons = {"benchmark": PAPER, "method": ["dctn", "m3sda"], "reason": ["fewer steps", "none is needed"]}
    pd.DataFrame(reasons).to_csv(folder / "reasons.csv", index=False)
    linear = {"data": "amazon", "recipe": "to-books", "method": "linear_svm", "accuracy": 0.781, "rows": 9}
    pd.DataFrame([linear | {"chosen": "", "commit": "ab", "command": ""}]).to_csv(
        folder / "references.csv", index=False
    )
    found = published.joined(folder).set_index("method")["reason"]
    assert "a linear SVM on the same counts reaches 78.1" in found["dann"]
    assert found[["dctn", "m3sda", "linear SVM"]].tolist() == ["fewer steps", "", ""]


def test_a_run_in_two_tables_is_refused(tmp_path):
    folder = saved(tmp_path, ONE, [])
    saved(tmp_path, ONE, [], place="older/amazon")
    with pytest.raises(InputError, match="two tables hold the run amazon/to-books/dann, seed 0"):
        published.joined(folder)


def test_a_benchmark_without_a_protocol_is_named(tmp_path):
    folder = saved(tmp_path, ONE, [("Paper C", "to-books", "cDANN", "dann", 81.0)])
    with pytest.raises(InputError, match=r"no row of protocols\.csv describes the benchmark 'Paper C'"):
        published.joined(folder)


def test_an_offset_of_a_task_is_over_its_networks_alone(tmp_path):
    names, more = ("dann", "dctn", "linear_svm"), {"to-books": (1.0, 3.0), "to-dvd": (-1.0, -4.0)}
    anchors = [(PAPER, task, name, name, 80.0) for task in TASKS for name in names]
    values = {
        (task, name, "mdan", 0): [80.0 + apart]
        for task, both in more.items()
        for name, apart in zip(names, both, strict=False)
    }
    linear = {"data": "amazon", "recipe": TASKS, "method": "linear_svm", "accuracy": 0.99, "rows": 9}
    folder = saved(tmp_path, values, anchors)
    pd.DataFrame(linear | {"chosen": "", "commit": "ab", "command": ""}).to_csv(
        folder / "references.csv", index=False
    )
    found = text.offsets(published.joined(folder)).loc[PAPER]
    assert found.loc["to-books"].tolist() == [2.0, 1.0, 3.0, 2]
    assert found.loc["to-dvd"].tolist() == [-2.5, -4.0, -1.0, 2]


def test_differences_are_paired_by_seed_and_target():
    """Levels of seeds and targets differ by far more than methods do, and cancel."""
    levels = {("to-books", 0): 60.0, ("to-books", 1): 70.0, ("to-dvd", 0): 80.0, ("to-dvd", 1): 90.0}
    add = {
        "mstl": 0,
        "mstl_plus+updates=0": 2,
        "mstl_plus+updates=0+attention=none": 1.5,
        "source_combine": 1,
        "dann": 1.25,
    }
    key = {"data": "amazon", "labels": 0, "profile": "mdan", "sources": 3}
    rows = [
        key | {"recipe": recipe, "seed": seed, "method": name, "accuracy": level + more + more * seed / 10}
        for (recipe, seed), level in levels.items()
        for name, more in add.items()
    ]
    table = text.differences(pd.DataFrame(rows)).set_index(["method", "reference"])
    for (method, reference), row in table.iterrows():
        assert row["difference"] == pytest.approx(1.05 * (add[method] - add[reference]))
        assert (row["seeds"], row["tasks"]) == (2, 2)
    kinds = table["kind"].to_dict()
    assert kinds["mstl_plus+updates=0+attention=none", "mstl_plus+updates=0"] == "change"
    assert kinds["mstl_plus+updates=0", "mstl"] == "reading"
    assert (
        kinds["mstl_plus+updates=0", "dann"] == "best rival" and kinds["mstl", "source_combine"] == "pooling"
    )


def test_settings_of_a_protocol_need_no_mention_and_changes_do():
    protocol, changed = "mstl+strength=0.01+updates=0", "mstl+strength=0.01+updates=0+attention=none"
    names = [changed, protocol, "dann+strength=1", "dann+strength=2", "dctn", "dctn+weight=1"]
    assert variants.plain(names) == {"mstl": protocol, "dctn": "dctn"}
    assert variants.labels(names) == {
        protocol: "MSTL",
        changed: "MSTL + attention=none",
        "dann+strength=1": "DANN + strength=1",  # neither is the plain one
        "dann+strength=2": "DANN + strength=2",
        "dctn": "DCTN",
        "dctn+weight=1": "DCTN + weight=1",
    }


@pytest.fixture
def histograms(tmp_path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    found = {}
    (tmp_path / "surf").mkdir()
    for name, rows in (("Caltech10", 31), ("webcam", 23)):
        counts = generator.integers(0, 9, (rows, 800)).astype(np.uint8)
        counts[:, 5] = 0  # a word that no photograph shows
        labels = generator.integers(1, 4, (rows, 1)).astype(np.uint8)
        savemat(tmp_path / f"surf/{name}_SURF_L10.mat", {"fts": counts, "labels": labels})
        found[name.lower()] = counts.astype(float), labels.ravel()
    return found


def test_the_nearest_neighbour_is_that_of_a_computation_by_hand(tmp_path, histograms):
    scaled = {}
    for name, (counts, labels) in histograms.items():
        shares = counts / counts.sum(1)[:, None]
        deviation = np.sqrt(((shares - shares.mean(0)) ** 2).mean(0))
        deviation[deviation == 0] = 1
        scaled[name] = (shares - shares.mean(0)) / deviation, labels
    measured = {row["recipe"]: row for row in references.of_surf(tmp_path / "surf")}
    assert set(measured) == {"caltech10-to-webcam", "webcam-to-caltech10"}
    for recipe, row in measured.items():
        (known, taught), (asked, truth) = (scaled[name] for name in recipe.split("-to-"))
        right = [
            taught[((known - one) ** 2).sum(1).argmin()] == k for one, k in zip(asked, truth, strict=True)
        ]
        assert row["accuracy"] == pytest.approx(np.mean(right)) and row["rows"] == len(truth)
    assert len({row["accuracy"] for row in measured.values()}) == 2


def reviews(folder: Path, flipped: str = "") -> Path:
    """Svmlight files of three domains; the test labels of ``flipped`` are turned round."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name in ("books", "dvd", "kitchen"):
        for part in ("train", "test"):
            labels = np.tile([-1, 1], 20)
            counts = generator.poisson(1.0, (40, 12)) + (labels[:, None] > 0) * generator.poisson(
                0.6, (40, 12)
            )
            turned = -labels if (name, part) == (flipped, "test") else labels
            dump_svmlight_file(counts, turned, str(folder / f"{name}_{part}.svmlight"), zero_based=True)
    return folder


def test_the_linear_classifier_never_sees_a_label_of_the_target(tmp_path):
    """Turn all test labels of a target round: what was right is wrong, and nothing else changes."""
    one, other = (
        {row["recipe"]: row for row in references.of_amazon(reviews(tmp_path / name, flipped))}
        for name, flipped in (("as they are", ""), ("turned", "books"))
    )
    assert set(one) == {"to-books", "to-dvd", "to-kitchen", *(f"{a}-to-{b}" for a, b in PAIRS)}
    for recipe, row in one.items():
        turned = recipe.endswith("to-books")
        assert other[recipe]["accuracy"] == pytest.approx(1 - row["accuracy"] if turned else row["accuracy"])
        assert other[recipe]["chosen"] == row["chosen"]
    assert one["to-books"]["accuracy"] > 0.6


PAIRS = [(a, b) for a in ("books", "dvd", "kitchen") for b in ("books", "dvd", "kitchen") if a != b]


def test_references_of_data_without_a_folder_stay(tmp_path, histograms):
    out = tmp_path / "out"
    surf = tmp_path / "surf"
    references.measure({"surf": surf}, out)
    before = published.read(out, "references")
    references.measure({"amazon": reviews(tmp_path / "reviews"), "surf": ""}, out)
    after = published.read(out, "references")
    assert len(after) == 9 + len(before) == 11
    pd.testing.assert_frame_equal(after[after["data"] == "surf"].reset_index(drop=True), before)
    assert references.measure({"surf": surf}, out) is None, "the same files again"
    savemat(surf / "dslr_SURF_L10.mat", {"fts": np.eye(800)[:9] + 1, "labels": np.ones((9, 1))})
    assert references.measure({"surf": surf}, out) and len(published.read(out, "references")) == 9 + 6


def test_a_sweep_that_says_so_ends_with_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = tmp_path / "some.yaml"
    file.write_text("published: true\nblocks: [{seeds: 0, methods: dann}]\n")
    sweep = sweep_file.read(file, out=str(tmp_path / "runs"))
    run.write_tables(Options(results=str(tmp_path / "results")), [sweep], [], set())
    table = published.read(tmp_path / "results/published", "table")
    assert len(table) >= len(published.read(COMMITTED, "anchors"))


def test_anchors_name_methods_that_exist_and_papers_that_are_cited():
    anchors, protocols = (published.read(COMMITTED, name) for name in ("anchors", "protocols"))
    names = {re.split(r"[/+]", ours.rpartition("/")[2])[0] for ours in anchors["ours"]}
    assert names <= {*METHODS, *references.TITLES}
    assert not anchors.duplicated(["benchmark", "task", "method"]).any()
    cited = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book/references.bib").read_text(), re.MULTILINE))
    assert set(protocols["source"]) <= cited


def test_the_sweep_trains_five_seeds_of_what_the_anchors_name():
    """So that a setting changed in one place does not leave a published number alone in the other."""
    files = sorted((ROOT / "workflow/sweeps/published").glob("*.yaml"))
    sweeps = [sweep_file.read(file) for file in files]
    assert all(sweep.published and sweep.results == f"published/{sweep.path.stem}" for sweep in sweeps)
    trained = {
        (c.data, c.recipe, c.variant, c.profile, c.labels, c.seed) for sweep in sweeps for c in sweep.configs
    }
    anchors, protocols = (published.read(COMMITTED, name) for name in ("anchors", "protocols"))
    profiles = protocols.set_index("benchmark")["profile"]
    for row in anchors.itertuples():
        if row.ours not in references.TITLES and "*" not in row.ours:
            key = (row.data, row.task, row.ours, profiles[row.benchmark], 0)
            assert {(*key, seed) for seed in range(5)} <= trained, f"no sweep file trains {key}"


def test_the_committed_table_is_what_its_sources_say():
    made = published.joined(COMMITTED)[published.ORDER]
    kept = published.read(COMMITTED, "table")
    assert kept["method"].tolist() == made["method"].tolist(), f"run `{published.SWEEP}`"
    for column in ("published", "ours", "low", "high", "difference"):
        np.testing.assert_allclose(kept[column], made[column], rtol=1e-4, atol=1e-3)


def test_histograms_are_reproduced_on_all_twelve_tasks_to_the_last_digit():
    table = published.joined(COMMITTED)
    rows = table[(table["benchmark"] == "Office-Caltech10 SURF") & (table["task"] != published.MEAN)]
    assert len(rows) == 12 and (rows["ours"].round(2) - rows["published"]).abs().max() < 0.005


PARTS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "nothing": ({}, ("Nothing was run yet", "not run (published 81.0)", "–\N{NO-BREAK SPACE}(81.0)")),
    "one seed": (
        {("to-books", name, "mdan", 0): [80.0] for name in ("dann", "mstl", "source_combine")},
        ("rest on fewer than 5 seeds", "MSTL minus source combine: +0.0 accuracy points on one seed"),
    ),
    "ours and its changes": (
        {
            ("to-books", name, "mdan", 0): [80.0 + more, 80.5 + more]
            for name, more in (("mstl_plus", 1), ("mstl_plus+attention=none", 0), ("source_combine", 0))
        },
        (
            "MSTL-plus is **better than** source combine: +1.0 accuracy points [+1.0, +1.0]",
            "MSTL-plus + attention=none is **worse than** MSTL-plus: -1.0 accuracy points",
        ),
    ),
}


@pytest.mark.parametrize("what", PARTS)
def test_the_page_shows_any_part_of_the_tables(what, tmp_path):
    values, expected = PARTS[what]
    shown = executed(
        "13_rivals", folder=str(saved(tmp_path, values, [(PAPER, "to-books", "cDANN", "dann", 81.0)]))
    )
    for line in expected:
        assert line in shown, shown
