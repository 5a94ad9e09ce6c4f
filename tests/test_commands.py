"""Every command that README, book and notebooks print, as it stands; what takes hours, up to its first run.

None is skipped in silence: a kind of command that no rule here executes fails the test.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import yaml
from test_howto import save_classes
from test_own_data import save_domain
from test_texts import save_reviews

import run as workflow
from mstl import methods
from mstl.__main__ import main
from mstl.run.config import TrainConfig
from mstl.system import project

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "book").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.py"))]
RUN_TARGETS = ("reproduce", "runs", "sweep", "book")
OWN = {"coral"}  # the method that the reader of own-method has just written
# The first needs the network and changes the environment; the second has a test of its own.
KINDS = (
    "pip install snakemake-executor-plugin-",
    "jupytext ",
    "make ",
    "python -m mstl ",
    "python benchmarks",
    "bash workflow/gpu/bare.sh ",
)


def printed() -> dict[str, str]:
    """Each command, without comment, and where it stands: lines of fenced blocks, and code within a line."""
    found = {}
    for path in (ROOT / "README.md", *PAGES):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        fence = re.compile(r"^ *```(?:bash|sh|shell|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
        lines = "".join(fence.findall(text)).replace("\\\n", " ").splitlines()
        # Within a line a command with arguments; without them its name is meant.
        lines += re.findall(r"`(make [a-z][^`\n]*|python -m mstl \w+ -[^`\n]*)`", text)
        for line in lines:
            command = re.sub(r"(^|\s)#.*", "", line).strip()
            if command:
                found.setdefault(command, path.name)
    return found


COMMANDS = printed()


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory, monkeypatch) -> Path:
    """A folder with what the pages take as given: data under the names that they use, and an interpreter."""
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path_factory.getbasetemp() / "howto-cache"))
    monkeypatch.chdir(tmp_path)
    classes = {}
    for command in COMMANDS:
        for name in re.findall(r"[ =]classes (?:DATA_DIR=|--data-dir )(\S+)", command):
            (target,) = re.findall(r"(?:--recipe |RECIPES=)to-(\S+)", command)
            (labels,) = re.findall(r"(?:--labels |LABELS=)([0-9]+)", command)
            classes[name] = target, max(8, int(labels))
    for name, asked in classes.items():
        save_classes(tmp_path / name, *asked)
    text = "\n".join(COMMANDS)
    reviews = set(re.findall(r"[ =]sentiment (?:DATA_DIR=|--data-dir )(\S+)", text))
    for name in reviews:
        save_reviews(tmp_path / name)
    for file, encoder in re.findall(r"mstl weights --file (\S+) --encoder (\S+)", text):
        state = timm.create_model(encoder, num_classes=5).state_dict()  # another library's: under other names
        torch.save({f"theirs.{i}": value for i, value in enumerate(state.values())}, tmp_path / file)
    # Before the command that writes it, a folder of weights is named by others.
    for place in set(re.findall(r"--weights-dir (\S+)", text)):
        (tmp_path / place).mkdir()
    for name in set(re.findall(r"--folder ([\w./-]+)", text)):
        save_domain(
            tmp_path / name, [f"{a}_{k}" for a in "abcdef" for k in (1, 2)], (200, 140), seed=len(name)
        )
    made = {
        *classes,
        *reviews,
        *(path.split("/")[0] for path in re.findall(r" tiles .*--out ([\w./-]+)", text)),
    }
    for name in set(re.findall(r"(?:DATA_DIR\w*=|--data-dir )([\w./-]+)", text)) - made:
        for j, source in enumerate(("sources/fronts", "sources/cabins"), start=1):
            save_domain(tmp_path / name / source, [f"{source[8:]}{k}" for k in range(6)], (70, 50), seed=j)
        if not (tmp_path / name / "images").exists():
            target = "" if Path(name).name == "target" else "target"
            save_domain(tmp_path / name / target, [f"{a}_{k}" for a in "abcdefghijkl" for k in (1, 2)])
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sep='\\n')\n")
    python.chmod(0o755)
    (tmp_path / "venv/.ready").touch()
    return tmp_path


def test_commands_are_found_and_each_is_of_a_kind_that_is_executed():
    assert len(COMMANDS) > 30
    assert [f"{where}: {c}" for c, where in COMMANDS.items() if not c.startswith(KINDS)] == []


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make(command, place, monkeypatch, capsys):
    """The real make; of a target that trains, the real workflow up to the list of runs."""
    _, target, *words = shlex.split(command)
    line = ["make", "-s", "-C", str(ROOT), target, f"VENV={place / 'venv'}", *words]
    if target not in RUN_TARGETS:
        subprocess.run([*line, "-n"], check=True, capture_output=True)
        return
    handed = subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()
    data = [word for word in handed if word.startswith(("DATA_DIR", "WEIGHTS_DIR")) and "=" in word]
    handed = [f"{w.partition('=')[0]}={place / w.partition('=')[2]}" if w in data else w for w in handed]
    monkeypatch.setattr(sys, "argv", [*handed, "DRY_RUN=1"])
    for name in OWN:
        monkeypatch.setitem(methods.METHODS, name, methods.METHODS["dann"])
    asked: list[TrainConfig] = []
    tasks_of = workflow.tasks_of

    def watched(*arguments):
        tasks = tasks_of(*arguments)
        asked.extend(job.config for task in tasks for job in task.jobs)
        return tasks

    monkeypatch.setattr(workflow, "tasks_of", watched)
    assert workflow.main() == 0, capsys.readouterr().err
    assert asked
    for config in asked:
        assert config.method in OWN or methods.configured(config.method, config.overrides)


def test_python(place, served, monkeypatch, capsys):
    """In order, in one folder, at the smallest profile; of own methods the page's own test does it."""
    lines = [c for c in COMMANDS if c.startswith("python -m mstl ") and "coral" not in c]
    steps = ("mstl tiles ", "mstl weights "), (" train ",), (" release --",), ("",)
    folder, address = served
    monkeypatch.setattr(project, "address", lambda: address)
    for line in sorted(lines, key=lambda c: [any(part in c for part in step) for step in steps].index(True)):
        _, _, _, *words = shlex.split(line.replace("<folder>", "runs/studio/parts/mstl/labels-8/seed-0"))
        smaller = ["--profile", "tiny"] if words[0] == "train" and "--profile" not in words else []
        if "runs-grid" in words:
            shutil.copytree("runs", "runs-grid")
        monkeypatch.setattr(sys, "argv", ["mstl", *words, *smaller])
        main()
        if words[0] == "release":
            shutil.copytree(words[words.index("--out") + 1], folder / "releases/download" / project.release())
    assert len(lines) >= 8
    for table in ("results/studio/runs.csv", "results/grid/folder/cars.csv"):
        assert Path(table).exists()
    assert list(Path("results/grid/studio/diagnosis").glob("*.csv"))


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python benchmarks")])
def test_benchmarks(command):
    """Up to the check of the arguments, which comes before --help."""
    line = [sys.executable, *shlex.split(command)[1:], "--help"]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


def test_a_bare_gpu_machine(place):
    """Up to the check of the arguments; `test_gpu_command` has the steps themselves."""
    (command,) = (c for c in COMMANDS if c.startswith("bash workflow/gpu/bare.sh "))
    line = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH {command} --help"
    ended = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and "--minutes" in ended.stdout, ended.stderr


def test_the_pipeline_of_the_page_leaves_its_run_in_the_clone(place, monkeypatch):
    """From the clone's root, as the page prints it; and without ``--cwd``, which is easily forgotten."""
    (command,) = (c for c in COMMANDS if c.startswith("jupytext "))
    (place / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/05_training.py", place / "notebooks")
    bin_folder = Path(sys.executable).parent
    for line in (command, command.replace("--cwd notebooks", "").replace("seed 1", "seed 2")):
        whole = f"PATH={shlex.quote(str(bin_folder))}:$PATH; set -e; {line} -p profile tiny"
        ended = subprocess.run(["bash", "-c", whole], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert "unknown parameter" not in ended.stderr
    assert len(list((place / "runs").rglob("manifest.json"))) == 2


def test_the_sweep_file_on_the_page_is_one(tmp_path):
    import sweep_file

    page = (ROOT / "book/howto/batches.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert "blocks" in yaml.safe_load(block)
    (tmp_path / "page.yaml").write_text(block)
    assert len(sweep_file.read(tmp_path / "page.yaml").configs) == 5 * (2 * 2 * 6 + 2 * 2)
