"""The first page's sentences, how to cite, and the tables as one file: what `book.stage` generates.

``python tools/front.py`` writes the same sentences into README.md; ``--check`` only compares.
"""

from __future__ import annotations

import functools
import re
import sys
import zipfile
from pathlib import Path

import yaml

from mstl.report.grid import answer
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
MARKS = "<!-- answer: python tools/front.py -->\n", "<!-- end of answer -->"
TABLES = "tables.zip"


def pages() -> dict[str, str]:
    """The generated parts of pages, by file name."""
    return {
        "answer.md": listed(said()[0], in_book),
        "monday.md": listed(said()[1], in_book, "1. "),
        "cite.md": cite(citation()),
    }


def citation() -> dict:
    """CITATION.cff, with the licence's year as that of the software."""
    year = re.search(r"Copyright \(c\) (\d{4})", (ROOT / "LICENSE").read_text(encoding="utf-8"))[1]
    return {"year": year} | yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@functools.cache
def said() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`answer.sentences` and `answer.advice`, links as ``[[words|place]]``; or that runs are missing."""
    try:
        cars = answer.load(str(ROOT / "results"))
        sentences = answer.sentences(cars, lambda words, place: f"[[{words}|{place}]]")
        # A number and its sign stay on one line.
        return tuple(
            tuple(line.replace(" %", "\u00a0%") for line in lines)
            for lines in (sentences, answer.advice(cars))
        )
    except (ValueError, InputError) as error:
        missing = (f"The tables in `results` do not hold what the answer needs: {error}.",)
        return missing, missing


def listed(lines: tuple[str, ...], link, mark: str = "* ") -> str:
    """A Markdown list, its links written by ``link``."""
    found = (re.sub(r"\[\[(.+?)\|(\w+)\]\]", lambda m: link(m[1], m[2]), line) for line in lines)
    return "".join(f"{mark}{line}\n" for line in found)


def in_book(words: str, place: str) -> str:
    """A link within the book, from a page in ``book/``; HTML, for Markdown knows no heading of notebooks."""
    page, anchor = answer.PLACES[place]
    return f'<a class="reference internal" href="../{page}.html{"#" if anchor else ""}{anchor}">{words}</a>'


def in_readme(words: str, place: str) -> str:
    """A link from README.md, to the notebook in the repository."""
    return f"[{words}]({answer.PLACES[place][0]}.py)"


def cite(citation: dict) -> str:
    """Abstract, and BibTeX of the software, the paper and the data, from CITATION.cff."""
    entries = "\n\n".join([bibtex(citation), *(bibtex(entry) for entry in citation["references"])])
    return f"> {citation['abstract'].strip()}\n\n```bibtex\n{entries}\n```\n"


def bibtex(entry: dict) -> str:
    """One entry of a CITATION.cff in BibTeX."""
    kinds = {"software": "software", "article": "misc", "data": "misc"}
    first = entry["authors"][0]
    name = first.get("family-names", entry["title"].split(":")[0].split()[0]).lower()
    year = str(entry["year"])
    address = entry.get("repository-code") or entry["url"]
    fields = {"author": authors(entry["authors"]), "title": f"{{{entry['title']}}}", "year": year}
    fields |= {"version": entry["version"]} if "version" in entry else {}
    fields |= {"note": f"Licence {entry['license']}"} if "license" in entry else {}
    fields |= {"url": address}
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kinds[entry['type']]}{{{name}{year},\n{body}\n}}"


def authors(people: list[dict]) -> str:
    """Names as BibTeX wants them; an institution's in braces."""
    return " and ".join(
        f"{{{who['name']}}}" if "name" in who else f"{who['family-names']}, {who['given-names']}"
        for who in people
    )


def pack(path: Path, results: Path = ROOT / "results") -> None:
    """All tables of ``results`` as one zip, the same bytes for the same tables."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(results.rglob("*.csv")):
            entry = zipfile.ZipInfo(f"results/{file.relative_to(results).as_posix()}")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def readme(text: str) -> str:
    """README.md with the sentences of today between the marks."""
    before, after = (re.escape(mark) for mark in MARKS)
    block = MARKS[0] + listed(said()[0], in_readme) + MARKS[1]
    return re.sub(f"{before}.*?{after}", lambda _: block, text, count=1, flags=re.DOTALL)


def main() -> int:
    """Write, or with ``--check`` only compare; returns the exit status."""
    path = ROOT / "README.md"
    old = path.read_text(encoding="utf-8")
    new = readme(old)
    if "--check" not in sys.argv:
        path.write_text(new, encoding="utf-8")
    print(f"README.md: {'same' if old == new else 'differs' if '--check' in sys.argv else 'written'}")
    return int(old != new and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
