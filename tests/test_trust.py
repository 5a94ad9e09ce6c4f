"""The tables behind "How we know it is right": what is written is what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mstl.report import trust
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

SUITE = """\
import numpy as np
import pytest


@pytest.mark.trust("limits", "One is one.")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_one(n, record_property):
    record_property("largest difference", np.float64(n) / 10)
    if n == 3:
        pytest.skip("needs a GPU")


@pytest.mark.trust("formulas", "Two is three.")
def test_two():
    assert 2 == 3, "two | three"


@pytest.mark.trust("faults", "Every file is read.")
def test_many(record_property):
    record_property("cases", 100_000)
    record_property("kinds", "png, jpg")


@pytest.fixture
def broken():
    raise OSError("no disk")


@pytest.mark.trust("faults", "Broken before it begins.")
def test_never(broken):
    pass


def test_nothing_claimed():
    pass
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    """A folder with a small suite, already run once in two processes."""
    tmp_path = tmp_path_factory.mktemp("suite")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = trust(area, claim): proves\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text('pytest_plugins = ("trust_report",)\n')
    (tmp_path / "tests/trust_report.py").write_text((ROOT / "tests/trust_report.py").read_text())
    (tmp_path / "tests/test_toy.py").write_text(SUITE)
    assert run(tmp_path, "-n2").returncode == 1
    return tmp_path


def run(suite: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "--trust=out", *options, "tests"]
    return subprocess.run(command, cwd=suite, capture_output=True, text=True, timeout=600)


def test_claims_are_written_as_they_ended(suite):
    claims = trust.load(suite / "out", "claims").set_index("test")
    assert list(claims["area"]) == ["formulas", "limits", "faults", "faults"]
    one = claims.loc["test_toy.py::test_one"]
    assert (one["cases"], one["skipped"], one["outcome"], one["reason"]) == (2, 1, "passed", "needs a GPU")
    assert one["measured"] == "largest difference: 0.1 to 0.3"
    two = claims.loc["test_toy.py::test_two"]
    assert two["outcome"] == "failed" and "two | three" in two["reason"]
    many = claims.loc["test_toy.py::test_many"]
    assert (many["cases"], many["measured"]) == (100_000, "kinds: png, jpg")
    assert claims.loc["test_toy.py::test_never", "outcome"] == "failed"
    assert trust.load(suite / "out", "provenance").loc[0, "command"].startswith("pytest -q --trust=out -n2")


def test_a_claim_that_did_not_pass_says_so_in_the_table(suite):
    claims = trust.load(suite / "out", "claims")
    line = trust.area_line(claims, "formulas")
    assert "0 held" in line and "Two is three. **Failed**" in line and "two \\| three" in line
    assert "all held" in trust.area_line(claims, "limits")
    assert "One is one. 2 cases held, 1 skipped: needs a GPU." in trust.area_line(claims, "limits")
    assert "No test of this area" in trust.area_line(claims, "ageing")
    mutants = pd.DataFrame({"module": ["nn/toy"], "killed": [3], "tested": [4], "tests": ["test_toy test_b"]})
    table = trust.claims_html(claims, mutants)
    assert table.count("3 of 4 in nn/toy") == 4
    assert "Two is three. Failed: " in table and "passed" not in table and "100,000" in table
    assert trust.starred(claims) == "*None of them has been tried.*"
    assert trust.summary(claims).startswith("**4 claims** in 3 areas")
    trust.outcome_bars(claims)


def test_the_claims_shown_first_are_claims_and_each_says_what_would_turn_it_red():
    claims = trust.load(ROOT / "results/trust", "claims")
    assert set(trust.STARRED) <= set(claims["test"])
    assert trust.starred(claims).count("*Red with:*") == len(trust.STARRED) == 5
    assert not claims["claim"].str.contains("MSTL+", regex=False).any()


def test_mutants_are_summed(tmp_path):
    table = pd.DataFrame({"module": ["a", "b"], "mutants": [20, 60], "tested": [20, 20], "killed": [20, 16]})
    text = trust.mutants_table(table.assign(survived=table["tested"] - table["killed"], percent=0))
    assert text.splitlines()[-1] == "| *together* | 80 | 40 | 36 | 4 | 90.0 |"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "claims.csv does not exist; make it with `make trust`"),
        ("", "claims.csv is damaged"),
        ("area,claim\n", "has no column test, cases"),
    ],
)
def test_a_missing_or_damaged_table_is_one_clear_error(tmp_path, text, message):
    if text is not None:
        (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        trust.load(tmp_path, "claims")


def test_an_area_that_does_not_exist_is_refused(suite):
    path = suite / "tests/test_unknown.py"
    path.write_text(SUITE.replace('"limits"', '"limit"'))
    ended = run(suite, "--collect-only")
    assert ended.returncode == 4 and "with an area of formulas, adversaries" in ended.stderr
