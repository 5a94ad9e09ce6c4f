"""Every benchmark in turn: ``make bench``. Each prints ratios of two things measured in the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run all ``bench_*.py`` of this folder, each in a process of its own; the number that failed."""
    failed = 0
    for script in sorted(HERE.glob("bench_*.py")):
        print(f"\n== {script.stem}", flush=True)
        failed += subprocess.run([sys.executable, "-W", "ignore", str(script)]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
