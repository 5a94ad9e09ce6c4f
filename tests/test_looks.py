"""What one can move on the result pages moves, logs no error, asks no other machine, agrees with them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from test_comparison import grid, write

from mstl.report import trust
from mstl.report.family.bars import alike
from mstl.report.grid import comparison, explorer
from mstl.report.grid import figures as draw
from mstl.report.grid.switches import WORDS

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "book" / "_static"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
drawn = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
METHODS = {
    "target_only": (-3, 0, 7),
    "source_combine": (0, 0, 11),
    "source_combine+steps=800": (0.5, 0, 50),
    "dann": (-1, 0, 16),
    "mstl_plus": (4, 0, 50),
    "mstl_plus+heads_see_target=false": (1, 0, 50),
    "mstl_plus+attention=both": (4.2, 1, 55),
    "oracle": (12, 0, 10),
}
SETTINGS = [("carparts", "parts", 3, 4), ("carparts", "parts+harmful", 4, 4), ("carparts", "parts", 3, 8)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """A folder as ``results/``, with one sweep."""
    folder = tmp_path_factory.mktemp("results")
    write(folder / "grid", "carparts", grid(SETTINGS, METHODS, seeds=(0, 1, 2), cars=6, noise=0.5))
    return folder


@pytest.fixture(scope="module")
def site(tables, tmp_path_factory) -> Path:
    """A folder with our scripts and the numbers of those tables."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("explorer.js", "filter.js"):
        shutil.copy(STATIC / name, folder)
    (folder / "results.mjs").write_text(explorer.script(tables, folder / "kept"), encoding="utf-8")
    return folder


def test_the_explorer_shows_the_numbers_of_the_pages(tables, site):
    text = (site / "results.mjs").read_text("utf-8")
    shown = json.loads(text.removeprefix("window.MSTL_RESULTS = ").removesuffix(";\n"))
    cars = comparison.everything(str(tables / "grid"), "cars")
    runs = comparison.everything(str(tables / "grid"), "runs")
    summary = comparison.summarise(cars).set_index(["recipe", "labels", "method"])
    assert sum(len(view["rows"]) for view in shown["views"]) == len(summary) == len(SETTINGS) * len(METHODS)
    for view in shown["views"]:
        place = (view["recipe"], view["labels"])
        chosen = comparison.choose(cars, *place)
        spent = comparison.choose(runs, *place).groupby("method")["seconds"].mean()
        for row in view["rows"]:
            expected = summary.loc[(*place, row["method"])]
            assert row["seeds"] == expected["seeds"] == 3
            assert row["seconds"] == pytest.approx(spent[row["method"]], abs=1e-5)
            for ours, name in (("mean", "dice"), ("low", "low"), ("high", "high"), ("sd", "sd")):
                assert row[ours] == pytest.approx(expected[name], abs=1e-5)
        for reference in view["references"]:
            for row in view["rows"]:
                if row["method"] != reference:
                    pair = comparison.paired(chosen, row["method"], reference).iloc[0]
                    expected = pair[["difference", "low", "high", "seeds"]].to_list()
                    assert row["minus"][reference] == pytest.approx(expected, abs=1e-5)
        assert set(view["references"]) == {"source_combine", "target_only", "mstl_plus"}


def test_the_switchboard_has_every_row_of_the_ablation(tables, site):
    shown = json.loads((site / "results.mjs").read_text("utf-8")[len("window.MSTL_RESULTS = ") : -2])
    found = {
        (view["recipe"], view["labels"], shown["methods"][row["method"]]["change"]): row["minus"]["mstl_plus"]
        for view in shown["views"]
        for row in view["rows"]
        if "mstl_plus" in row["minus"] and row["method"].startswith("mstl_plus+")
    }
    changes = comparison.ablation(comparison.everything(str(tables / "grid"), "cars"))
    assert len(changes) == len(found) == 2 * len(SETTINGS)
    for row in changes.itertuples():
        numbers = found[row.recipe, row.labels, WORDS[row.change]]
        assert numbers == pytest.approx([row.difference, row.low, row.high, row.seeds], abs=1e-5)


def test_numbers_are_kept_until_their_table_changes(tables, tmp_path, monkeypatch):
    results = shutil.copytree(tables, tmp_path / "results")
    first = explorer.script(results, tmp_path / "kept")
    monkeypatch.setattr(explorer, "views", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(explorer, "OF_NUMBERS", explorer.OF_NUMBERS)
    assert explorer.script(results, tmp_path / "kept") == first
    path = results / "grid/carparts/cars.csv"
    path.write_text(path.read_text().replace("0.7", "0.6", 1))
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        explorer.script(results, tmp_path / "kept")


def test_the_numbers_in_the_repository_are_those_of_its_tables():
    """To compute them takes four minutes: `make book` does it where a table has changed; commit them."""
    tables = (path for path in ROOT.glob("results/*/*/cars.csv") if "tuning" not in path.parts[-3])
    place = ROOT / "results/explorer"
    wanted = {explorer.kept_as(path.parents[1], path.parent.name, place) for path in tables}
    assert set(place.iterdir()) == wanted


def test_no_rule_of_our_style_sheet_swallows_those_below_it():
    """A brace that is missing makes all that follows part of one rule, and no browser says so."""
    depth = 0
    for line in (STATIC / "custom.css").read_text("utf-8").splitlines():
        if line.startswith("/*"):
            assert depth == 0, f"a rule is open above: {line}"
        depth += line.count("{") - line.count("}")
    assert depth == 0


def test_every_variant_in_the_tables_is_told_in_words():
    names = set()
    for path in ROOT.glob("results/**/runs.csv"):
        names |= set(pd.read_csv(path, usecols=["method"])["method"])
    labels = {comparison.variant_label(name) for name in names}
    assert len(labels) == len(names) > 150, "two variants that figures call by one name"
    assert not [label for label in labels if "=" in label or "@" in label or "+" in label.replace(" + ", "")]


@pytest.mark.parametrize(
    "place", ["distant/classes", "inherited/digits-high", "masks/studio", "teachers/classes"]
)
def test_panels_stand_under_one_another_where_a_page_is_too_narrow(place):
    """A figure wider than the page is made smaller, and its words with it."""
    folder, name = (ROOT / "results" / place).parts[-2:]
    summary = comparison.summarise(
        alike(comparison.load(str(ROOT / "results" / folder), name, "cars")), draws=20
    )
    figure = draw.score_dots(summary)
    assert figure.get_size_inches()[0] <= draw.PAGE
    figure.draw_without_rendering()
    settings = summary[["recipe", "labels"]].drop_duplicates()
    assert len(figure.axes) == len(settings)
    assert all(ax.get_position().width * figure.get_size_inches()[0] > 1 for ax in figure.axes)
    plt.close(figure)


def test_every_setting_is_linked_to_its_view(tables):
    text = explorer.links(comparison.everything(str(tables / "grid"), "cars"), "grid")
    assert '#grid/carparts/parts%2Bharmful/4">carparts/parts+harmful, 4 labels</a>: 8 rows' in text
    assert text.count("<a href=") == len(SETTINGS)


SPY = """<script>
const seen = [];
addEventListener("error", (event) => seen.push(event.message || "not loaded: " + event.target.src), true);
addEventListener("securitypolicyviolation", (event) => seen.push("asks " + event.blockedURI));
console.error = (...words) => seen.push(words.join(" "));
</script>"""
# Nothing may be loaded but files of this folder: anything else is an error that SPY sees.
POLICY = "default-src file: 'unsafe-inline'; connect-src 'none'"


def opened(site: Path, body: str, script: str, hash: str = "", act: str = "", width: int = 1000) -> str:
    """The page after its scripts and ``act`` have run, as its DOM's text; fails where an error was logged."""
    page = site / "page.html"
    end = "document.body.dataset.seen = JSON.stringify(seen);"
    page.write_text(
        f'<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}">{SPY}</head><body>{body}<script src="{script}"></script>'
        f"<script>setTimeout(() => {{ try {{ {act} }} catch (e) {{ seen.push(String(e)); }} "
        f"setTimeout(() => {{ {end} }}, 300); }}, 500);</script></body></html>",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    command += [f"--window-size={width},1500", f"--user-data-dir={site / 'profile'}", "--dump-dom"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"file://{page}{hash}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr[-2000:]
    assert json.loads(html.unescape(seen[1])) == []
    return html.unescape(done.stdout)


EXPLORER = '<div class="mstl-explorer">Without scripts: the tables.</div>'


@drawn
@pytest.mark.parametrize("width", [1000, 390])
def test_the_explorer_draws_the_view_of_its_address(site, width):
    shown = opened(site, EXPLORER, "explorer.js", "#grid/carparts/parts/4", width=width)
    assert "Without scripts" not in shown and shown.count('role="img"') == len(METHODS)
    assert re.search(
        r'role="status">photographs \(carparts\), parts, 4 labels: 8 rows, Dice, %. Highest: oracle', shown
    )
    assert "MSTL-plus, heads do not learn from target labels" in shown and "seconds of training" in shown
    chart = shown[shown.index("<svg") : shown.index("</svg>")]
    positions = [float(x) for x in re.findall(r'class="value">([\d.]+)<', chart)]
    assert len(positions) == 8 and positions == sorted(positions, reverse=True)
    assert shown.count('<th scope="row">') == len(METHODS), "the same numbers as a table"
    assert 'scope=""' not in shown
    minus = opened(
        site, EXPLORER, "explorer.js", "#grid/carparts/parts%2Bharmful/4/source_combine/main", width=width
    )
    assert "parts+harmful, 4 labels: 4 rows, Dice points, method minus source combine" in minus
    assert "MSTL-plus minus source combine: +" in minus and ", better, 3 seeds" in minus
    assert 'class="zero"' in minus and "target only minus source combine: −" in minus


@drawn
def test_choices_of_the_explorer_move_the_chart_and_its_address(site):
    act = """
      const pick = (name, value) => { const s = document.querySelector(`select[name=${name}]`);
        s.value = value; s.dispatchEvent(new Event("change")); };
      pick("show", "target_only");
      document.querySelector("input[value=variants]").click();
      pick("labels", "8");
      document.querySelector("svg .mstl-row").focus();
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true}));
      document.body.dataset.hash = location.hash;
      document.body.dataset.focus = document.activeElement.getAttribute("aria-label");
      document.body.dataset.line = document.querySelector(".mstl-detail").textContent;
    """
    shown = opened(site, EXPLORER, "explorer.js", "#grid/carparts/parts/4", act)
    assert 'data-hash="#grid/carparts/parts/8/target_only/variants"' in shown
    assert "8 labels: 3 rows, Dice points, method minus target only" in shown
    focus, line = (re.search(rf'data-{name}="([^"]*)"', shown)[1] for name in ("focus", "line"))
    assert focus == line and " minus target only: +" in line


@drawn
def test_an_address_of_what_was_not_run_says_what_is_shown_in_its_place(site):
    shown = opened(site, EXPLORER, "explorer.js", "#grid/carparts/parts/99")
    assert (
        "grid/carparts/parts/99 was not run. Shown in its place: photographs (carparts), parts, 4 labels"
        in shown
    )
    assert "parts, 4 labels: 8 rows" in opened(site, EXPLORER, "explorer.js", "#an-anchor-of-the-page")


@drawn
def test_without_numbers_the_words_of_the_page_stay(tmp_path):
    shutil.copy(STATIC / "explorer.js", tmp_path)
    (tmp_path / "results.mjs").write_text("", encoding="utf-8")
    shown = opened(tmp_path, EXPLORER, "explorer.js")
    assert "Without scripts: the tables." in shown and "<svg" not in shown


@drawn
def test_the_switchboard_shows_the_switch_that_is_chosen(site):
    act = """
      const s = document.querySelector("select[name=switch]");
      s.value = "heads do not learn from target labels"; s.dispatchEvent(new Event("change"));
    """
    shown = opened(site, explorer.switchboard("grid"), "explorer.js", act=act)
    assert (
        "MSTL-plus, but heads do not learn from target labels: run in 3 settings; better in 0, worse in 3"
        in shown
    )
    assert shown.count('class="mstl-row ours"') == 3 and "In the book a choice" not in shown


@drawn
def test_the_search_leaves_the_rows_that_hold_every_word(site):
    claims, mutants = (trust.load(ROOT / "results/trust", name) for name in ("claims", "mutants"))
    act = """
      const i = document.querySelector("input[type=search]");
      i.value = "MDAN released"; i.dispatchEvent(new Event("input"));
      document.body.dataset.rows = [...document.querySelectorAll("tbody tr")].filter((r) => !r.hidden).length;
    """
    shown = opened(site, trust.claims_html(claims, mutants), "filter.js", act=act)
    text = claims[["claim", "measured", "area", "test"]].agg(" ".join, axis=1).str.lower()
    expected = (text.str.contains("mdan") & text.str.contains("released")).sum()
    assert (
        f'data-rows="{expected}"' in shown and f"{expected} of {len(claims)} rows" in shown and expected > 0
    )
