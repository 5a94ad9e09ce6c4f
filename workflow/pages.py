"""The pages of the book that are notebooks: which there are, what each draws from, what repeats them."""

from __future__ import annotations

import shutil
from pathlib import Path

import book
import pair
import plan
from mstl.data.files import files_fingerprint
from mstl.run import provenance
from plan import NOTEBOOKS, Job, Task

EXECUTED = Path("_build/notebooks")


def tasks_of(data: str, shown: Job | None = None, timeout: int = 21600) -> list[Task]:
    """One task a notebook of ``_toc.yml``; its key: cells, parameters, the package, the tables it may read.

    Those that train something come first: begun last, one of them would hold up all that follows.
    A page that draws from tables says where they lie by its parameter ``folder``; where that folder holds
    tables of ``data`` and the page has such a parameter, it shows those.
    ``shown`` is a finished run whose executed notebook is the page of that notebook.
    """
    package = [path.read_bytes() for path in sorted(provenance.PACKAGE.rglob("*.py"))]
    code = plan.digest(*map(plan.digest, package), files_fingerprint("studio", None))
    training, tasks = [], []
    for source in (Path(f"{name}.py") for name in book.chapters(Path("_toc.yml"))):
        if source.parent != NOTEBOOKS:
            continue
        page, target = source.stem, EXECUTED / data / source.stem / f"{source.stem}.ipynb"
        declared = pair.defaults(source)
        parameters, read = {}, []
        if "folder" in declared:
            folder = NOTEBOOKS / declared["folder"]
            read = [plan.digest(path.read_bytes()) for path in tables(folder)]
            if "data" in declared and (folder / data / "runs.csv").exists():
                parameters["data"] = data
        if "train" in declared:
            parameters["train"] = False
        if shown and shown.notebook == str(source):
            read = [plan.digest(Path(shown.target).read_bytes())]
        key = plan.digest(pair.cells(source), parameters, code, read)
        job = Job(page, str(target), None, str(source), parameters)
        task = Task(str(EXECUTED / data / plan.TASKS / page), key, (job,), timeout)
        (training if "steps" in declared else tasks).append(task)
    return training + tasks


def tables(folder: Path) -> list[Path]:
    """The tables in a folder of results, and what lies beside those of any data in it."""
    found = [path.parent.rglob("*") for path in sorted(folder.glob("*/runs.csv"))]
    return sorted({path for each in (folder.glob("*.csv"), *found) for path in each if path.is_file()})


def take(tasks: list[Task], shown: Job | None) -> None:
    """Make the executed notebook of a run the page of that notebook."""
    for task in tasks:
        (job,) = task.jobs
        if shown and job.notebook == shown.notebook and not task.finished():
            Path(job.target).parent.mkdir(parents=True, exist_ok=True)
            task.write()
            shutil.copyfile(shown.target, job.target)
            task.file(".done").write_text(task.key + "\n")
