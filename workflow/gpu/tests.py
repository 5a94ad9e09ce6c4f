"""Every test marked ``gpu``: what is true on the CPU is true on the GPU, within stated bounds."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as tree
from pathlib import Path

from step import arguments

COLUMNS = ("test", "outcome", "seconds", "measured", "message")


def main() -> int:
    """Run pytest, and write down each test with what it recorded; status 1 if one failed."""
    options, clock = arguments()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        command += [
            f"--junitxml={report}",
            "-n",
            "1" if options.small else "12",
            "--dist",
            "worksteal",
            "tests/test_gpu.py",
        ]
        try:
            status = subprocess.run(command, timeout=clock.left).returncode
        except subprocess.TimeoutExpired:
            print(f"the tests did not end within {options.seconds:.0f} s")
            return 1
        write(options.out / "tests.csv", rows(report))
    return 0 if status == 0 else 1


def rows(report: Path) -> list[dict[str, str]]:
    """One row a test of pytest's report."""
    found = []
    for case in tree.parse(report).iter("testcase"):
        bad = next(
            (case.find(kind) for kind in ("failure", "error", "skipped") if case.find(kind) is not None), None
        )
        measured = [f"{p.get('name')}: {p.get('value')}" for p in case.iter("property")]
        message = "" if bad is None else " ".join((bad.get("message") or "").split())[:400]
        outcome = "passed" if bad is None else {"failure": "failed"}.get(bad.tag, bad.tag)
        entry = (case.get("name"), outcome, f"{float(case.get('time')):.2f}", "; ".join(measured), message)
        found.append(dict(zip(COLUMNS, entry, strict=True)))
    return found


def write(path: Path, table: list[dict[str, str]]) -> None:
    """The table, also where it is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    sys.exit(main())
