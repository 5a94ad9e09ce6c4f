"""The tables behind the page "How we know it is right": `pytest --trust FOLDER` writes one row a claim.

A test carries ``@pytest.mark.trust(area, claim)``; its outcome, its number of cases and what it measured
(`record_property`) end up in ``FOLDER/claims.csv``, where and with what it ran in ``FOLDER/provenance.csv``.
"""

from __future__ import annotations

import datetime
import numbers
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mstl.report.trust import AREAS
from mstl.run import provenance
from mstl.system.files import replacing

CLAIM = "trust claim"  # name of the property that carries a claim from a worker to the process that writes


@dataclass
class Row:
    """What became of one claim's test, over all its cases."""

    outcomes: dict[str, str] = field(default_factory=dict)  # case -> outcome
    reasons: list[str] = field(default_factory=list)
    measured: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, report: pytest.TestReport) -> None:
        """Take in the report of one phase of one case."""
        before = self.outcomes.get(report.nodeid)
        if report.failed or before is None or (report.when == "call" and before != "failed"):
            self.outcomes[report.nodeid] = report.outcome
        if not report.passed:
            self.reasons.append(_reason(report))
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name != CLAIM:
                    self.measured.setdefault(name, []).append(value)

    def entries(self) -> dict[str, Any]:
        """The row's columns after area, claim and test."""
        ended = list(self.outcomes.values())
        outcome = next((o for o in ("failed", "passed", "skipped") if o in ended), "not run")
        # A test that makes its cases itself, as hypothesis does, counts them itself.
        counted = [n for n in self.measured.pop("cases", []) if isinstance(n, numbers.Number)]
        return {
            "cases": int(sum(counted)) if counted else sum(o != "skipped" for o in ended),
            "skipped": ended.count("skipped"),
            "outcome": outcome,
            "reason": "; ".join(dict.fromkeys(self.reasons)),
            "measured": "; ".join(f"{name}: {_together(v)}" for name, v in self.measured.items()),
        }


class TrustReport:
    """Collects reports in the process that has all of them: with pytest-xdist, not in the workers."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder, self.command = folder, command
        self.rows: dict[tuple[str, str, str], Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == CLAIM:
                area, claim = value
                test = report.nodeid.split("[", maxsplit=1)[0].removeprefix("tests/")
                self.rows.setdefault((area, claim, test), Row()).add(report)

    def pytest_sessionfinish(self) -> None:
        if not self.rows:
            return
        table = pd.DataFrame(
            {"area": area, "claim": claim, "test": test, **row.entries()}
            for (area, claim, test), row in sorted(self.rows.items(), key=_place)
        )
        _write(table, self.folder / "claims.csv")
        _write(pd.DataFrame([_provenance(self.command)]), self.folder / "provenance.csv")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--trust", metavar="FOLDER", help="write claims.csv there: the claims tests prove, and the outcomes"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--trust") and not hasattr(config, "workerinput"):
        command = "pytest " + " ".join(config.invocation_params.args)
        config.pluginmanager.register(TrustReport(Path(config.getoption("--trust")), command))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("trust"):
            if len(mark.args) != 2 or mark.args[0] not in AREAS or mark.kwargs:
                raise pytest.UsageError(
                    f"{item.nodeid}: trust{mark.args} must be trust(area, claim) with an area of "
                    + ", ".join(AREAS)
                )
            item.user_properties.append((CLAIM, list(mark.args)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    # Numbers of NumPy and tensors do not travel between processes.
    item.user_properties[:] = [(name, _plain(value)) for name, value in item.user_properties]
    return (yield)


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, bool | int | float | str | list) else str(value)


def _reason(report: pytest.TestReport) -> str:
    """Why a case was skipped or failed, in one line."""
    if report.skipped and isinstance(report.longrepr, tuple):
        text = report.longrepr[2]
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else str(report.longrepr)
    line = (text.strip() or "no reason").splitlines()[0]
    return line.removeprefix("Skipped: ")[:200]


def _together(values: list[Any]) -> str:
    """What several cases measured: the one value, the range, or each text once."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min(values), max(values)
        return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
    return ", ".join(dict.fromkeys(map(str, values)))


def _place(entry: tuple[tuple[str, str, str], Row]) -> tuple[int, str, str]:
    (area, claim, test), _ = entry
    return AREAS.index(area), test, claim


def _provenance(command: str) -> dict[str, str]:
    """With what the tests ran."""
    tools = {name: metadata.version(name) for name in ("pytest", "hypothesis")}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "commit": provenance.commit(), **provenance.versions(), **tools, "command": command}


def _write(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
