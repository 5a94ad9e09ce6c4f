"""Links of the built book that lead nowhere: pages, files and anchors that are not there."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag

LINK = re.compile(r'<[a-zA-Z][\w-]*[^>]*?\s(?:href|src)="([^"]*)"')
ANCHOR = re.compile(r'<[a-zA-Z][\w-]*[^>]*?\s(?:id|name)="([^"]+)"')
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:|//")


def _written(html: Path) -> list[Path]:
    """The pages; what lies in ``_static`` are templates of the theme."""
    return [path for path in sorted(html.rglob("*.html")) if path.relative_to(html).parts[0] != "_static"]


def links(html: Path) -> list[str]:
    """Every dead link below ``html``, once, as ``page: link``."""
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in _written(html)}
    anchors = {path: {unescape(name) for name in ANCHOR.findall(text)} for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        for link in dict.fromkeys(LINK.findall(text)):
            address, anchor = urldefrag(unescape(link))
            address = unquote(address.partition("?")[0])
            if ELSEWHERE.match(link) or (not address and not anchor):
                continue
            if "/" in anchor:  # a view of the explorer, which tests/test_looks.py holds to the tables
                anchor = ""
            goal = (path.parent / address).resolve() if address else path
            if not goal.exists() or (anchor and goal in anchors and unquote(anchor) not in anchors[goal]):
                found.append(f"{path.relative_to(html.resolve())}: {link}")
    return found
