"""The first page says what the tables say: sentences, ladders, card; one title; how to cite; the glossary."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image
from test_comparison import grid

import front
from mstl.report.grid import answer, comparison

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book/images"))
import answer as pictures  # noqa: E402
import draw  # noqa: E402
import film  # noqa: E402

GAINS = {
    "target_only": (0, 0, 40),
    "source_combine": (3, -4, 60),
    "source_combine+mean_teacher=10+steps=770": (4, 0, 120),
    "pooled_ensemble": (5, 0, 90),
    "positive_unlabelled": (9, 0, 60),
    "multi_head": (9, 0, 60),
    "mstl": (-3, 0, 110),
    "mstl_plus": (12, 0, 120),
    "oracle": (20, 0, 40),
}
SETTINGS = [("carparts", recipe, 3, labels) for recipe in ("masks", "parts") for labels in (0, 4, 32)]


def cars_of(gains):
    found = grid([*SETTINGS, ("carparts", "parts+harmful", 3, 4)], gains, noise=0.3)["cars"]
    return {reading.name: found for reading in answer.READINGS}


def words(cars) -> list[str]:
    return answer.sentences(cars, lambda words, place: f"[{words}]({place})")


def test_the_sentences_say_what_the_tables_say():
    first, second, third, fourth, fifth = words(cars_of(GAINS))
    assert "the idea works" in first and "7.0 points ahead of" in rounded(first)
    assert "the best method that does not know" in first and "3.0 points behind target only" in rounded(first)
    assert "What carries it: sub-networks" in second and "3.0 points ahead of multi-head" in rounded(second)
    assert "pool them" in third and "6.0 points behind source combine" in rounded(third)
    assert "brings the gain back, and more than an ensemble" in fourth
    assert "7.0 points ahead of pooled ensemble" in rounded(fourth), "with the harmful source"
    left = [float(x) for x in re.findall(r"(\d+\.\d) points to gain|left (\d+\.\d)\.", fifth)[0] if x]
    assert left == [pytest.approx(20, abs=0.3)]


def rounded(text: str) -> str:
    """The numbers of points to the half, since the tables are noisy."""
    return re.sub(r"\d+\.\d(?= points)", lambda m: f"{round(2 * float(m[0])) / 2:.1f}", text)


def test_the_sentences_turn_with_the_tables():
    worse = GAINS | {"mstl_plus": (-6, 0, 120), "source_combine": (-8, 0, 60)}
    first, second, third, fourth, _ = words(cars_of(worse))
    assert "the idea fails" in first and "a sub-network for each is not needed" in second
    assert "sources harm" in third and "loses, too, and an ensemble does more" in fourth
    ours, literal = first.split(" MSTL, the literal reading")
    assert "points ahead" not in ours + second and "5.0 points ahead" in rounded(literal)


def test_a_difference_says_level_only_where_its_interval_holds_zero():
    assert answer.Gap(1.0, -0.2, 2.2).to("it") == "level with it (+1.0, −0.2 to +2.2)"
    assert answer.Gap(-1.0, -2.2, -0.2).to("it") == "1.0 points behind it (0.2 to 2.2)"
    assert answer.Gap(1.0, 0.2, 2.2).to() == "1.0 points ahead (0.2 to 2.2)"


def test_tables_that_lack_a_run_stop_no_build(monkeypatch):
    without = {name: gain for name, gain in GAINS.items() if name != "positive_unlabelled"}
    monkeypatch.setattr(answer, "load", lambda results: cars_of(without))
    front.said.cache_clear()
    assert "do not hold what the answer needs" in front.pages()["answer.md"]
    front.said.cache_clear()


def test_readme_has_the_sentences_of_the_book():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert front.MARKS[0] in text and text == front.readme(text), "run `python tools/front.py`"
    plain = [
        re.sub(r"<a [^>]*>(.*?)</a>|\[(.*?)\]\([^)]*\)", r"\1\2", front.listed(front.said()[0], link))
        for link in (front.in_book, front.in_readme)
    ]
    assert plain[0] == plain[1] and plain[0].count("\n") == 5


def test_every_score_of_readme_s_tables_is_one_of_the_tables():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    settings = {
        "no target label": ("masks", "carparts", "masks", 0),
        "4 target labels": ("masks", "carparts", "masks", 4),
        "rendered cars, no target label": ("masks", "studio", "masks", 0),
        "as it is": ("grid", "carparts", "parts", 4),
        "with a fourth, harmful source": ("grid", "carparts", "parts+harmful", 4),
    }
    checked = 0
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
        for column, name in enumerate(head):
            if name in settings:
                known = scores(*settings[name])
                found = [row[column] for row in rows if row[column]]
                assert set(found) <= known, (name, set(found) - known)
                checked += len(found)
    assert checked > 30


def scores(folder: str, data: str, recipe: str, labels: int) -> set[str]:
    """Every score of a setting with its interval, as README prints it."""
    cars = comparison.load(f"{ROOT}/results/{folder}", data, "cars")
    table = comparison.summarise(comparison.choose(cars, recipe, labels))
    return {f"{row.dice:.1f} ({row.low:.1f} to {row.high:.1f})" for row in table.itertuples()}


def test_links_of_the_sentences_lead_to_headings():
    for page, anchor in answer.PLACES.values():
        text = (ROOT / f"{page}.py").read_text(encoding="utf-8")
        heads = re.findall(r"^# #+ (.*)$", text, flags=re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
        assert not anchor or anchor in slugs, (page, anchor)


def test_the_pictures_are_those_of_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "HERE", tmp_path)
    monkeypatch.setattr(pictures, "CARD", tmp_path / "card.png")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pictures, "card", lambda rows: None)
    pictures.main()
    film.film()
    for path in sorted(tmp_path.glob("*.svg")):
        assert path.read_text() == (ROOT / "book/images" / path.name).read_text(), f"draw {path.name} again"
    assert len(list(tmp_path.glob("*.svg"))) == 3
    rows = answer.ladder(answer.load())
    with Image.open(ROOT / "book/_static/card.png") as card:
        assert card.size == (1200, 630) and card.text["Description"] == pictures.spoken(rows)
    assert (ROOT / "book/_static/card.png").stat().st_size < 100_000


def test_the_film_can_stand_still():
    text = (ROOT / "book/images/film.svg").read_text()
    assert "prefers-reduced-motion" in text and text.count('class="film-say') == len(film.STAGES)
    sizes = [int(size) for size in re.findall(r'font-size="(\d+)"', text)]
    assert min(sizes) * 350 / 640 > 8, "legible on a phone"


def test_one_title_everywhere():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    first = [
        re.search(r"^# (.*)$", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
        for name in ("README.md", "book/intro.md")
    ]
    card = (ROOT / "book/images/answer.py").read_text(encoding="utf-8")
    assert {*first, config["title"], front.citation()["title"]} == {first[0]} and first[0] in card


def test_what_to_cite_is_in_citation_cff_and_in_the_list_of_references():
    page, bib = front.pages()["cite.md"], (ROOT / "book/references.bib").read_text(encoding="utf-8")
    paper = next(entry for entry in front.citation()["references"] if entry["type"] == "article")
    for field in (paper["title"], front.authors(paper["authors"])):
        assert field in page and field in bib
    assert page.count("@") == 3 and "CC-BY-4.0" in page and front.citation()["abstract"].strip() in page


def test_the_file_of_tables_is_the_same_for_the_same_tables(tmp_path):
    (tmp_path / "results/a").mkdir(parents=True)
    (tmp_path / "results/a/runs.csv").write_text("run\n1\n")
    for name in "ab":
        front.pack(tmp_path / f"{name}.zip", tmp_path / "results")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["results/a/runs.csv"]


SPOKEN = "bar, control, equal steps, equal time, headroom, model consistency, multi-head, oracle, points, "
SPOKEN += "paired difference, pooled ensemble, reading, rival, source combine, source only, target only"


def test_the_glossary_has_every_word_once_and_in_order():
    text = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(?! |```|#|One )(\S.*)$", text, flags=re.MULTILINE)
    assert set(SPOKEN.split(", ")) <= set(terms) and len(terms) == len(set(terms))
    assert terms == sorted(terms, key=str.lower)
