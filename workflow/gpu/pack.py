"""`make gpu-pack`: what a bare GPU machine without a network needs beside the checkout, into ``.gpu/``.

    python workflow/gpu/pack.py [--carparts FOLDER]

* ``wheels/``: packages that an image with PyTorch lacks, at the versions of the lock file;
* ``carparts/``: the photographs, where their folder is named (never committed: ``.gpu`` is ignored);
* ``commit``: which commit this is, since the history may stay behind.

There, with PyTorch, pandas, scikit-learn and pytest in the image: ``bash workflow/gpu/bare.sh FOLDER``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKED = ROOT / ".gpu"
WHEELS = ("lightning-fabric", "pooch", "platformdirs", "tyro", "docstring-parser", "typeguard")
MOST = 64 * 2**20  # bytes that travel


def main() -> int:
    """Pack, and say how much it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--carparts", default="", help="folder of the car photographs")
    options = parser.parse_args()
    carparts = Path(options.carparts).expanduser() if options.carparts else None
    if carparts and not (carparts / "annotations.json").exists():
        parser.error(f"--carparts {carparts} holds no annotations.json; name the folder of the photographs")
    shutil.rmtree(PACKED, ignore_errors=True)
    (PACKED / "wheels").mkdir(parents=True)
    download(PACKED / "wheels")
    if carparts:
        shutil.copytree(carparts, PACKED / "carparts", copy_function=shutil.copyfile)
    sys.path.insert(0, str(ROOT))
    from mstl.run import provenance

    (PACKED / "commit").write_text(provenance.commit() + "\n")
    packed = sum(file.stat().st_size for file in PACKED.rglob("*") if file.is_file())
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    tree = sum((ROOT / name).stat().st_size for name in tracked.stdout.split("\0") if name)
    together = (packed + tree) / 2**20
    print(f"{PACKED}: {packed / 2**20:.0f} MiB, with the checkout {together:.0f} of {MOST >> 20} MiB")
    return int(packed + tree > MOST)


def download(folder: Path) -> None:
    """Wheels of `WHEELS` for any Python 3, at the lock file's versions."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = [re.search(rf"^{re.escape(name)}==[^\s;\\]+", lock, re.MULTILINE) for name in WHEELS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--dest", str(folder), *(pin[0] for pin in pins)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
