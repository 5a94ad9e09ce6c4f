"""One set of versions for everybody: the lock file satisfies pyproject.toml, and conda users get the same."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

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


@pytest.mark.trust("ageing", "Every package of the lock file has an exact version and a checksum.")
def test_every_locked_version_has_a_hash():
    assert all(count for versions in locked().values() for _, _, count in versions)


def test_the_lock_names_no_address_and_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text and " @ " not in text


@pytest.mark.trust("ageing", "Every version in the lock file lies within the bounds of pyproject.toml.")
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


@pytest.mark.trust("ageing", "Users of conda get Python and versions as everybody, from the same lock file.")
def test_conda_users_get_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, make, from_pip = environment["dependencies"]
    assert python.startswith("python" + PROJECT["requires-python"])
    assert (pip, make) == ("pip", "make")
    assert from_pip["pip"] == ["--require-hashes", "--requirement requirements.lock"]


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text())


@pytest.mark.trust(
    "ageing",
    "Published checks run on every Python that is supported, with lowest, locked and newest versions.",
)
def test_every_supported_python_is_checked_with_both_ends_of_the_bounds():
    checks = workflow("tests.yml")
    jobs = checks["jobs"]
    supported = SpecifierSet(PROJECT["requires-python"])
    pythons = jobs["locked"]["strategy"]["matrix"]["python"]
    assert min(pythons, key=Version) == re.search(r">=([\d.]+)", PROJECT["requires-python"])[1]
    assert all(python in supported for python in pythons)
    ends = {(job["python"], job["resolution"]) for job in jobs["bounds"]["strategy"]["matrix"]["include"]}
    for resolution in ("lowest-direct", "highest"):
        assert {(min(pythons, key=Version), resolution), (max(pythons, key=Version), resolution)} <= ends
    assert "schedule" in checks[True], "yaml reads `on` as true; packages age without a commit of ours"


def test_conda_users_get_a_python_that_is_checked():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    allowed = SpecifierSet(environment["dependencies"][0].removeprefix("python"))
    pythons = workflow("tests.yml")["jobs"]["locked"]["strategy"]["matrix"]["python"]
    assert [f"3.{minor}" for minor in range(8, 30) if f"3.{minor}" in allowed] == pythons


@pytest.mark.trust("ageing", "The versions installed where the tests run lie within the bounds.")
@pytest.mark.parametrize("requirement", list(map(Requirement, PROJECT["dependencies"])), ids=str)
def test_what_is_installed_satisfies_the_bounds(requirement, record_property):
    installed = metadata.version(requirement.name)
    record_property(requirement.name, installed)
    assert requirement.specifier.contains(installed, prereleases=True)
