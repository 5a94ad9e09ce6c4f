"""Every benchmark in turn, then its ratios against those of the last release: ``make bench``.

    python benchmarks [--only mmd step] [--quick] [--compare] [--rebase]

Each ``bench_*.py`` runs in a process of its own and writes ``results/bench/<name>.csv``. Ratios are compared
with ``benchmarks/baseline.json``; one that is worse than its baseline by more than its tolerance has fallen,
and the exit status says so. Seconds are never compared: they belong to a machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import baseline  # noqa: E402

# Those that take these options; the others are small.
QUICK = ("counts", "dice", "growth", "levers", "limit", "mmd", "planning", "start", "step", "train")


def main() -> int:
    """Run and compare; the number of benchmarks that failed plus the number of ratios that fell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [script.stem.removeprefix("bench_") for script in sorted(HERE.glob("bench_*.py"))]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument(
        "--quick", action="store_true", help="only see that everything runs; compares nothing"
    )
    parser.add_argument("--compare", action="store_true", help="compare what was measured before")
    parser.add_argument("--rebase", action="store_true", help="make what is measured the new baseline")
    options = parser.parse_args()
    failed = [] if options.compare else [name for name in options.only if not run(name, options.quick)]
    for name in failed:
        print(f"bench_{name}.py FAILED")
    if options.quick:
        return len(failed)
    if options.rebase:
        baseline.write()
    return len(failed) + baseline.report()


def run(name: str, quick: bool) -> bool:
    """One benchmark; whether it ended well."""
    print(f"\n== bench_{name}", flush=True)
    flags = ["--quick"] if quick and name in QUICK else []
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / f"bench_{name}.py"), *flags]
    return subprocess.run(command, env=os.environ | one_thread).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
