"""One set of versions for everybody: the lock file satisfies pyproject.toml, and conda users get the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    """What pyproject.toml asks for, its extras included and itself left out."""
    extras = PROJECT["optional-dependencies"].values()
    asked = [*PROJECT["dependencies"], *(line for lines in extras for line in lines)]
    return [r for r in map(Requirement, asked) if canonicalize_name(r.name) != "mstl"]


def locked() -> dict[str, list[tuple[str, str, int]]]:
    """Package -> its (version, marker, number of hashes): several where systems differ."""
    entries: dict[str, list[tuple[str, str, int]]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text()):
        head = re.match(r"([\w.-]+)==(\S+)(?: ; (.*?))?(?: \\)?(?:\n|$)", entry)
        assert head, f"not an exact version: {entry[:80]}"
        found = (head[2], head[3] or "", entry.count("--hash=sha256:"))
        entries.setdefault(canonicalize_name(head[1]), []).append(found)
    return entries


def test_every_locked_version_has_a_hash():
    assert all(count for versions in locked().values() for _, _, count in versions)


def test_the_lock_names_no_address_and_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text and " @ " not in text


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_lock_satisfies_every_bound(requirement):
    versions = locked().get(canonicalize_name(requirement.name))
    assert versions, f"{requirement.name} is not locked: make lock"
    assert all(requirement.specifier.contains(version) for version, _, _ in versions)


def test_bounds_are_lower_bounds_so_that_colab_keeps_its_own_torch():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert {specifier.operator for specifier in requirement.specifier} == {">="}, requirement


def test_the_package_can_be_built_without_fetching_a_build_environment():
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for requirement in map(Requirement, backend):
        versions = locked()[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(v) and not marker for v, marker, _ in versions)
    assert "--no-build-isolation" in (ROOT / "Makefile").read_text()


def test_conda_users_get_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, make, from_pip = environment["dependencies"]
    assert python.startswith("python" + PROJECT["requires-python"])
    assert (pip, make) == ("pip", "make")
    assert from_pip["pip"] == ["--require-hashes", "--requirement requirements.lock"]
