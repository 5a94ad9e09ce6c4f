"""What each finished page gets: a description, a card for links, its commit, diagrams in the theme's colours.

A Sphinx extension; ``_config.yml`` names it, and `book.build` lets Sphinx find it.
"""

from __future__ import annotations

import functools
import re
from html import escape
from pathlib import Path

from docutils import nodes

import status

LONGEST = 200  # characters of a description; search engines show no more
CARD = "_static/card.png"  # book/images/answer.py draws it
# Colours of book/images/draw.py by name: custom.css says what each is in the dark.
COLOURS = {
    "#1c2430": "ink",
    "#566072": "muted",
    "#f7f8fb": "panel",
    "#c9cfda": "edge",
    "#0072b2": "front",
    "#00805d": "cabin",
    "#c04f00": "rear",
    "#5b4a9c": "target",
    "#9a6700": "attention",
    "#b0407f": "adversary",
    "#56657a": "other",
}
NEVER_COUNTED = (nodes.Admonition, nodes.table, nodes.figure, nodes.footnote, nodes.topic)


def setup(app) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", no_thebe, priority=1)
    app.connect("html-page-context", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def no_thebe(app) -> None:
    """Take sphinx_thebe out: no page offers it, and it writes a line twice that browsers call an error."""
    for found in app.events.listeners.values():
        found[:] = [one for one in found if not one.handler.__module__.startswith("sphinx_thebe")]
    app.config.html_css_files = [f for f in app.config.html_css_files if "thebe" not in str(f)]


def finish(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Complete the context of one page."""
    context["default_mode"] = "auto"  # else the theme's script complains on a first visit
    context["metatags"] = (context.get("metatags") or "") + tags(app, pagename, context, doctree)
    footer = context.get("theme_extra_footer", "")
    context["theme_extra_footer"] = f"{footer} Built from commit {escape(commit())}."
    if "body" in context:
        body = spoken(themed(context["body"], sources(app)))
        if pagename.startswith("_modules/"):
            module = pagename.removeprefix("_modules/").replace("/", ".")
            body = led_back(
                body,
                module,
                {name: one.docname for name, one in app.env.domaindata["py"]["objects"].items()},
                lambda docname: app.builder.get_relative_uri(pagename, docname),
            )
        context["body"] = body


def spoken(body: str) -> str:
    """A page as a screen reader can read it out.

    Sphinx writes the parameters of a long signature as a list of descriptions of nothing, and what is cited
    as a list without items.
    """
    lines = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')
    of_signature = {"<dd>": '<span class="sig-line">', "</dd>": "</span>"}
    body = lines.sub(lambda found: re.sub("</?dd>", lambda tag: of_signature[tag[0]], found[1]), body)
    return body.replace('role="doc-biblioentry"', 'role="listitem"')


commit = functools.cache(status.commit)  # once for all pages


def led_back(body: str, module: str, pages: dict[str, str], address) -> str:
    """A page of source whose links back to the documentation name what is documented, or are left out.

    ``sphinx.ext.viewcode`` names all of a module after the package that offers a part of it.

    Args:
        body: of the page.
        module: whose source it shows.
        pages: documented name -> page.
        address: of a page, seen from this one.
    """

    def mended(match: re.Match) -> str:
        name = f"{module}.{match[2]}"
        if match[4] in pages:
            return match[0]
        return f'{match[1]}{match[3]}{address(pages[name])}#{name}">{match[5]}' if name in pages else match[1]

    pattern = r'(<div class="viewcode-block" id="([^"]+)">\s*)(<a [^>]*href=")[^"#]*#([^"]+)">(.*?</a>)'
    return re.sub(pattern, mended, body, flags=re.DOTALL)


def tags(app, pagename: str, context: dict, doctree) -> str:
    """The elements of ``<head>`` that search engines and messengers read."""
    site, base = app.config.project, app.config.html_baseurl
    title = re.sub(r"<[^>]+>", "", context.get("title") or site)
    said = description(doctree) or f"{title}: a page of {site}."
    found = {
        "og:type": "website" if pagename == app.config.root_doc else "article",
        "og:site_name": site,
        "og:title": title,
        "og:description": said,
    }
    if base:
        found |= {"og:url": f"{base}{pagename}.html", "og:image": f"{base}{CARD}"}
        found |= {"og:image:width": "1200", "og:image:height": "630"}
    lines = [f'<meta name="description" content="{escape(said)}" />']
    lines += [f'<meta property="{name}" content="{escape(value)}" />' for name, value in found.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image" />')
    return "\n    " + "\n    ".join(lines) + "\n"


def description(doctree) -> str:
    """The first paragraph of a page that stands in no box, table or caption, cut at a word; or ``""``."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        node = paragraph
        while node.parent is not None and not isinstance(node.parent, NEVER_COUNTED):
            node = node.parent
        words = " ".join(paragraph.astext().split())
        if node.parent is None and len(words) > 20:
            return words if len(words) <= LONGEST else words[: LONGEST - 2].rsplit(" ", 1)[0] + " …"
    return ""


def sources(app) -> dict[str, Path]:
    """The SVG files that pages show: name in the book -> file."""
    images = getattr(app.builder, "images", {})
    return {name: Path(app.srcdir) / file for file, name in images.items() if file.endswith(".svg")}


def themed(body: str, files: dict[str, Path]) -> str:
    """``body`` with each diagram written into the page, where the theme's colours reach it."""

    def written(match: re.Match) -> str:
        alt = re.search(r'alt="([^"]*)"', match[0])
        file = files.get(match[1])
        return match[0] if file is None else inline(file, alt[1] if alt else "")

    return re.sub(r'<img[^>]*src="[./]*_images/([^"/]+\.svg)"[^>]*>', written, body)


def inline(file: Path, alt: str) -> str:
    """A diagram as an element of a page: its names its own, its colours variables, its title the ``alt``."""
    svg = file.read_text(encoding="utf-8")
    svg = re.sub(r'id="([^"]+)"', rf'id="{file.stem}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{file.stem}-\1)", svg)
    svg = re.sub(r"<title>.*?</title>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<(rect|text|path|circle|ellipse)[^>]*>", lambda element: _coloured(element[0]), svg)
    return svg.replace("<svg ", f'<svg class="mstl-diagram" aria-label="{alt}" ', 1)


def _coloured(element: str) -> str:
    """Its colours as variables; of what carries white words, the fill stays, and so do the words."""
    kind = element[1:5]

    def variable(match: re.Match) -> str:
        what, colour = match[1], match[2]
        if colour == "#ffffff":
            return match[0] if kind == "text" else f'{what}="var(--diagram-sheet, {colour})"'
        name = COLOURS.get(colour)
        if name is None or (kind == "rect" and what == "fill" and name not in ("panel", "edge")):
            return match[0]
        return f'{what}="var(--diagram-{name}, {colour})"'

    return re.sub(r'(fill|stroke)="(#[0-9a-f]{6})"', variable, element)
