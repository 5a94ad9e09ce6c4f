"""What is published holds no credentials, no folder of a machine and no name of its user."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import private

ROOT = Path(__file__).resolve().parent.parent
SECRET = "0123456789abcdef0123456789abcdef"
USER = "jane-doe-planted"

NOTEBOOK = """\
# %% tags=["parameters"]
data_dir: str = None  # folder of photographs

# %%
import os, pathlib, sys, tempfile, warnings
import mstl
from mstl.run.config import TrainConfig

print(mstl.__file__, sys.executable, os.getcwd(), pathlib.Path.home() / "x.csv", tempfile.gettempdir())
print(os.environ["KAGGLE_KEY"], dict(os.environ)["SOME_TOKEN"])
warnings.warn("look here")
print(TrainConfig(data_dir=data_dir))

# %%
from IPython.display import Markdown, display
display(Markdown(f"`{data_dir}/a b.jpg` by {os.environ['KAGGLE_KEY']}"), {"at": data_dir, "n": 1})
print(TrainConfig().folder.as_posix(), "1/2", "and/or", "https://example.org/home/x", "a / b")
"""

EXECUTE = """
import json, sys, execute
from pathlib import Path
execute.execute(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
"""

# A folder of a machine that is no address: at the start of a word, in a place where systems keep files.
MACHINE = re.compile(
    r"(?<![\w.~<{}*:/-])/(?:home|Users|root|tmp|work|var|mnt|opt|content|private|usr|kaggle)/\w"
    r"|\b[A-Z]:\\+Users"
)
KEYS = re.compile(
    r"AKIA[0-9A-Z]{16}|\bgh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22}|\bhf_[A-Za-z]{30}|\bKGAT_\w{16}"
    r"|\bsk-[A-Za-z0-9]{20}|\bxox[abp]-\w|-----BEGIN [A-Z ]*PRIVATE KEY|\"key\": *\"[0-9a-f]{32}\""
    r"|(?i:kaggle_key|password|api_?key|secret) *[=:] *['\"]?[A-Za-z0-9+/]{16}"
)


def texts(part: object) -> list[str]:
    """Every string of a notebook but pictures."""
    if isinstance(part, str):
        return [part]
    if isinstance(part, dict):
        if part.get("encoding") == "base64":
            return []
        return [t for k, v in part.items() if not str(k).startswith("image/") for t in [str(k), *texts(v)]]
    return [t for item in part for t in texts(item)] if isinstance(part, list) else []


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> nbformat.NotebookNode:
    """A notebook that shows all it knows of this machine, executed as `make reproduce` executes chapters."""
    folder = tmp_path_factory.mktemp("machine")
    home = folder / "home" / USER
    (home / "photographs").mkdir(parents=True)
    (folder / "toy.py").write_text(NOTEBOOK)
    parameters = json.dumps({"data_dir": str(home / "photographs")})
    done = subprocess.run(
        [
            *(sys.executable, "-c", EXECUTE, folder / "toy.py", home / "done.ipynb", parameters),
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'workflow'}:{ROOT / 'tools'}",
            "HOME": str(home),
            "USER": USER,
            "KAGGLE_KEY": SECRET,
            "SOME_TOKEN": f"x-{SECRET}",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return nbformat.read(home / "done.ipynb", as_version=4)


@pytest.mark.trust("hostile input", "an executed notebook carries no credentials, whatever its cells print")
def test_no_secret_of_the_environment_is_in_an_executed_notebook(executed):
    found = "\n".join(texts(executed))
    assert SECRET not in found and "<secret>" in found


@pytest.mark.trust("hostile input", "an executed notebook names no folder of the machine and not its user")
def test_no_folder_and_no_user_is_in_an_executed_notebook(executed):
    found = "\n".join(texts(executed))
    here = [USER, str(ROOT), sys.prefix, os.path.expanduser("~") + os.sep, "pytest-of"]
    assert not [place for place in here if place in found]
    assert not MACHINE.findall(found)


def test_what_is_no_path_stays_as_it_was(executed):
    found = "\n".join(texts(executed))
    assert "runs/studio/parts/mstl/labels-8/seed-0 1/2 and/or https://example.org/home/x a / b" in found
    assert "look here" in found and "photographs" in found


def test_pictures_are_left_alone():
    output = {"data": {"image/png": "AAAA/home/x/BBBB/tmp/CCCC", "text/plain": "/home/x/y.png"}}
    buffer = {"buffers": [{"encoding": "base64", "data": "/home/x/"}]}
    assert private.cleaned(output) == {
        "data": {"image/png": "AAAA/home/x/BBBB/tmp/CCCC", "text/plain": "y.png"}
    }
    assert private.cleaned(buffer) == buffer


@pytest.mark.parametrize(
    "text, left",
    [
        ("/home/jane/a.csv", "a.csv"),
        ("at '/Users/jane/x y/a.csv'.", "at 'x y/a.csv'."),
        ("C:\\Users\\jane\\a.csv", "a.csv"),
        ("/tmp/ipykernel_7/1.py:3: UserWarning", "1.py:3: UserWarning"),
        ("https://example.org/home/jane/a", "https://example.org/home/jane/a"),
        ("data/home/jane", "data/home/jane"),
        ("J/n = 1/2, /2", "J/n = 1/2, /2"),
    ],
)
def test_of_a_path_the_last_part_stays(text, left):
    assert private.cleaned(text, {}) == left


def published() -> list[Path]:
    """Every text file that git follows or would, in or out of a checkout."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [p.relative_to(ROOT).as_posix() for place in ("book", "notebooks", "results") for p in
                  (ROOT / place).rglob("*")]  # fmt: skip
    endings = {
        ".ipynb",
        ".csv",
        ".md",
        ".json",
        ".yaml",
        ".yml",
        ".cff",
        ".toml",
        ".py",
        ".bib",
        ".html",
        ".svg",
    }
    return [ROOT / name for name in listed if Path(name).suffix in endings and (ROOT / name).is_file()]


@pytest.mark.trust(
    "hostile input", "no file of the repository holds a credential or a folder of our machines"
)
def test_no_file_of_the_repository_holds_a_key_or_a_folder_of_a_machine(record_property):
    files, found = published(), []
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{name}: {match[0]}"
            for match in KEYS.finditer(text)
            if name != "tests/test_published_notebooks.py"
        ]
        if path.suffix != ".py":  # programs may speak of folders
            found += [f"{name}: {match[0]}" for match in MACHINE.finditer(text)]
    record_property("files", len(files))
    assert len(files) > 50 and not found


@pytest.mark.parametrize(
    "planted", ["KAGGLE_KEY=" + SECRET, '{"key": "' + SECRET + '"}', "ghp_" + "a1" * 18, "see /home/x/y"]
)
def test_the_scan_finds_what_is_planted(planted):
    assert KEYS.search(planted) or MACHINE.search(planted)
