"""The repository's address is stated in pyproject.toml and nowhere else by hand."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

import links

ROOT = Path(__file__).resolve().parent.parent

ADDRESS = re.compile(r"(?:github\.com|githubusercontent\.com|google\.com/github)/([\w.-]+)/([\w-]+)")


def test_all_files_name_the_repository_of_pyproject():
    owner, name = links.slug().split("/")
    wrong = [
        (path.name, found.group())
        for path in links.files()
        for found in ADDRESS.finditer(path.read_text(encoding="utf-8"))
        if found[2] == name and found[1] != owner
    ]
    assert not wrong, "run `make links`"
    assert links.written() == links.slug()


def test_readme_citation_and_book_point_to_it():
    slug = links.slug()
    readme = (ROOT / "README.md").read_text()
    assert f"https://colab.research.google.com/github/{slug}/blob/main/notebooks/" in readme
    assert f"https://github.com/{slug}/actions/workflows/tests.yml" in readme
    assert (
        yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == f"https://github.com/{slug}"
    )


def test_links_within_the_readme_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []
    named = re.findall(r"`((?:notebooks|mstl|workflow|results|book)/)`", (ROOT / "README.md").read_text())
    assert all((ROOT / folder).is_dir() for folder in named)


def test_an_address_moves_as_a_whole_and_others_stay():
    text = (
        "https://github.com/OWNER/mstl/actions https://OWNER.github.io/mstl/ "
        "https://colab.research.google.com/github/OWNER/mstl/blob/main/x.ipynb "
        "git+https://github.com/OWNER/mstl https://github.com/OWNER/mstl-other https://github.com/a/mstl"
    )
    moved = links.replaced(text, "OWNER/mstl", "jane/local")
    assert moved == (
        "https://github.com/jane/local/actions https://jane.github.io/local/ "
        "https://colab.research.google.com/github/jane/local/blob/main/x.ipynb "
        "git+https://github.com/jane/local https://github.com/OWNER/mstl-other https://github.com/a/mstl"
    )
    assert links.replaced(moved, "jane/local", "OWNER/mstl") == text
