"""The methods, by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from mstl.methods.catalogue import METHODS, Entry, check, entry, register
from mstl.system.errors import InputError

if TYPE_CHECKING:
    from mstl.methods import hyperparameters
    from mstl.methods.base import Method
    from mstl.problems import Problem


def find(name: str) -> type[Method]:
    """The class of the method called ``name``; only its own module is imported.

    Raises:
        InputError: no such method (the message lists those there are), or no such class where it should be.
    """
    found = entry(name)
    try:
        return getattr(import_module(found.location), found.kind)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"method {name}: {found.location} with a class {found.kind} cannot be imported ({error}); "
            "mend its line in the catalogue, or start where Python finds the file"
        ) from error


def configured(name: str, overrides: str = "", **defaults: object) -> hyperparameters.Hyperparameters:
    """Hyper-parameters of a method: its own defaults, then ``defaults``, then ``overrides``.

    Raises:
        InputError: the method or a hyper-parameter is unknown, or a value cannot be meant.
    """
    from mstl.methods.hyperparameters import parse_overrides

    options = find(name).Hyperparameters
    return replace(options(), **{**defaults, **parse_overrides(overrides, options)})


def build(
    name: str,
    sources: int,
    labelled: bool,
    overrides: str = "",
    problem: Problem | None = None,
    partial: Sequence[bool] = (),
    **defaults: object,
) -> Method:
    """A fresh method with the hyper-parameters of `configured`, for a problem; masks by default.

    ``partial`` says of each source whether it marks a part of the object only.

    Raises:
        InputError: the method is unknown, cannot do what is asked, or a hyper-parameter is wrong.
    """
    check(name, labelled, *((problem.name, problem.reads) if problem else ()))
    return find(name)(configured(name, overrides, **defaults), sources, labelled, problem, partial)


__all__ = ["METHODS", "Entry", "build", "check", "configured", "find", "register"]
