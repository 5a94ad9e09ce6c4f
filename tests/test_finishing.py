"""What pages get besides their text, links that lead nowhere, and what a browser says of a built page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from docutils.core import publish_doctree

import dead
import finishing

ROOT = Path(__file__).resolve().parent.parent


def test_a_description_is_the_first_paragraph_outside_boxes():
    text = "Title\n=====\n\n.. note:: A note that is longer than twenty characters.\n\n"
    text += "The first paragraph of\nthis page says what it is about.\n\nAnother paragraph, much later."
    assert finishing.description(publish_doctree(text)) == (
        "The first paragraph of this page says what it is about."
    )
    assert finishing.description(None) == ""


def test_a_long_description_ends_at_a_word():
    found = finishing.description(publish_doctree("Title\n=====\n\n" + "word " * 100))
    assert found.endswith("word …") and len(found) <= finishing.LONGEST


def test_a_diagram_follows_the_theme_and_keeps_white_words_white(tmp_path):
    file = tmp_path / "two.svg"
    file.write_text(
        '<svg viewBox="0 0 1 1"><title>T</title><marker id="head"/><rect fill="#0072b2" stroke="#0072b2"/>'
        '<text fill="#ffffff">w</text><text fill="#1c2430">i</text><rect fill="#f7f8fb"/><path d="M0 0" '
        'marker-end="url(#head)"/></svg>\n'
    )
    body = finishing.themed('<p><img alt="A car" src="../_images/two.svg" /></p>', {"two.svg": file})
    assert 'aria-label="A car"' in body and "<title>" not in body and "<img" not in body
    assert 'id="two-head"' in body and "url(#two-head)" in body
    assert '<text fill="#ffffff">' in body and 'fill="var(--diagram-ink, #1c2430)"' in body
    assert 'fill="#0072b2" stroke="var(--diagram-front, #0072b2)"' in body
    assert 'fill="var(--diagram-panel, #f7f8fb)"' in body
    other = '<img src="_images/other.svg">'
    assert finishing.themed(other, {"two.svg": file}) == other


def test_source_leads_back_to_what_is_documented():
    block = '<div class="viewcode-block" id="{}">\n<a class="viewcode-back" href="../a.html#{}">[docs]</a>'
    pages = {"m.cut.f": "b", "m.g": "a"}

    def led(name, anchor):
        return finishing.led_back(block.format(name, anchor), "m.cut", pages, "../{}.html".format)

    assert 'href="../b.html#m.cut.f">[docs]</a>' in led("f", "m.f")
    assert 'href="../a.html#m.g">[docs]</a>' in led("g", "m.g")
    assert "href" not in led("h", "m.h") and 'id="h"' in led("h", "m.h")


def test_every_colour_of_the_diagrams_has_one_for_the_dark():
    css = (ROOT / "book/_static/custom.css").read_text(encoding="utf-8")
    dark = set(re.findall(r"--diagram-(\w+):", css))
    assert dark == {*finishing.COLOURS.values(), "sheet"}
    for file in (ROOT / "book/images").glob("*.svg"):
        words = re.findall(r'<text[^>]* fill="(#\w+)"', file.read_text(encoding="utf-8"))
        assert set(words) <= {*finishing.COLOURS, "#ffffff"}, file.name


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("b.html", []),
        ("b.html#there", []),
        ("#here", []),
        ("#", []),
        ("https://example.org/nowhere", []),
        ("b.css?v=1", []),
        ("b.html#a/view/of/it", []),
        ("c.html", ["a.html: c.html"]),
        ("b.html#absent", ["a.html: b.html#absent"]),
        ("#absent", ["a.html: #absent"]),
    ],
)
def test_dead_links_are_found_and_others_are_not(tmp_path, link, said):
    (tmp_path / "a.html").write_text(f'<p id="here"><a class="x" href="{link}">x</a></p>')
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1>')
    (tmp_path / "b.css").write_text("")
    assert dead.links(tmp_path) == said


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WRONG = re.compile(r"error|already|invalid|warn|refused|ERR_", re.IGNORECASE)


def console(page: Path) -> list[str]:
    """What Chromium reports of a page as errors, warnings and refused requests; [] where it is missing."""
    if CHROMIUM is None:
        return []
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    command += [f"--user-data-dir={page.parent / '.chromium'}", "--virtual-time-budget=3000"]
    ended = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=180)
    assert "</html>" in ended.stdout
    return [line for line in ended.stderr.splitlines() if "CONSOLE" in line and WRONG.search(line)]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_console_s_words_are_read(tmp_path):
    page = tmp_path / "a.html"
    page.write_text("<html><script>const a = 1</script><script>const a = 2</script></html>")
    assert len(console(page)) == 1


def test_a_long_signature_is_no_list_of_descriptions_and_citations_are_items_of_their_list():
    parameter = '<dd><em class="sig-param"><span>{}</span></em>,</dd>\n'
    fields = '<dl class="field-list">\n<dt>Parameters</dt>\n<dd><p>a: the first.</p></dd>\n</dl>'
    body = f"<dt>f(\n<dl>\n{parameter.format('a')}{parameter.format('b')}</dl>\n\n)</dt>{fields}"
    made = finishing.spoken(body)
    assert made.count('<span class="sig-line"><em class="sig-param">') == 2 and fields in made
    assert "<dl>" not in made and made.count("<dd>") == made.count("</dd>") == 1
    cited = '<div role="list"><div class="citation" role="doc-biblioentry">'
    assert finishing.spoken(cited) == '<div role="list"><div class="citation" role="listitem">'
