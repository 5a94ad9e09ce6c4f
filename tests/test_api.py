"""Every name that a room offers, and every method, stands on the page of that room."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from test_rooms import BELOW

from mstl.methods import METHODS, find

ROOT = Path(__file__).resolve().parent.parent
ROOMS = sorted(set(BELOW) - {"render"})  # a program: `python -m mstl.render --help` is its page


def named(room: str) -> set[str]:
    """The modules and objects that the page of a room documents."""
    page = (ROOT / f"book/api/{room}.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\.\. auto(?:module|class|function|data):: (\S+)", page, flags=re.MULTILINE))


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_documents_its_own_room_only_and_what_is_there(room):
    assert named(room)
    for name in named(room):
        assert name == f"mstl.{room}" or name.startswith(f"mstl.{room}."), name
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_room_offers_stands_on_its_page(room):
    package, found = importlib.import_module(f"mstl.{room}"), named(room)
    for name in getattr(package, "__all__", ()):
        value = getattr(package, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            places = {f"mstl.{room}", value.__module__, f"{value.__module__}.{name}", f"mstl.{room}.{name}"}
            assert places & found, name


def test_every_method_stands_on_the_page_of_methods():
    assert {find(name).__module__ for name in METHODS} <= named("methods")


def test_the_first_page_of_the_api_names_every_room():
    page = (ROOT / "book/api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<api/(\w+)>", page)) == set(ROOMS)
