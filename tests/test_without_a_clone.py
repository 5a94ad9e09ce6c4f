"""The package as Colab has it: a wheel of one revision, the repository behind https, and no clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_https import answering, serving

from mstl.data.readers import download
from mstl.report import results, tables
from mstl.system import project
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
VERSION = "v0.1.0"

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
for cell in list(notebook.cells):  # small, as nbmake does it
    for name, value in cell.metadata.get("nbmake", {}).get("mock", {}).items():
        cell.source += f"\\n{name} = {value!r}"
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
"""


@dataclass(frozen=True)
class Colab:
    """An interpreter that has the package, a folder to work in, and what was asked of the repository."""

    python: Path
    folder: Path
    environment: dict[str, str]
    asked: list[str]

    def run(self, code: str, *arguments: object) -> subprocess.CompletedProcess:
        """Run a program in the folder; the caller looks at its status."""
        return subprocess.run(
            [self.python, "-c", code, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def colab(tmp_path_factory, certificate) -> Iterator[Colab]:
    """`pip install` of a wheel whose ``Repository`` is a server of ours that has this revision."""
    place = tmp_path_factory.mktemp("colab")
    with zipfile.ZipFile(place / "repository.zip", "w") as archive:
        for path in sorted((ROOT / "results").rglob("*")):
            archive.write(path, f"mstl-{VERSION}" / path.relative_to(ROOT))
    files = {
        f"/someone/mstl/archive/{VERSION}.zip": place / "repository.zip",
        f"/someone/mstl/raw/{VERSION}/data/studio.zip": ROOT / "data/studio.zip",
    }
    asked = []

    def answer(handler) -> None:
        asked.append(handler.path)
        if handler.path not in files:
            return handler.send_error(404)
        body = files[handler.path].read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with serving(answering(answer), certificate) as address:
        python = installed(place, f"{address}/someone/mstl")
        (place / "content").mkdir()
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MSTL_STUDIO")}
        environment = kept | {
            "MSTL_CACHE": str(place / "cache"),
            "REQUESTS_CA_BUNDLE": str(certificate),
            "JUPYTER_PREFER_ENV_PATH": "1",
        }
        yield Colab(python, place / "content", environment, asked)


def installed(place: Path, repository: str) -> Path:
    """A fresh environment's interpreter with the wheel; all other packages are those of this one."""
    source = place / "source"
    source.mkdir()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = next(line for line in project.splitlines() if line.startswith("Repository ="))
    (source / "pyproject.toml").write_text(project.replace(line, f'Repository = "{repository}"'), "utf-8")
    for name in ("mstl", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    run = subprocess.check_call
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(place)]
    run([*pip, *wheel, str(source)])
    run([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")])
    python = place / "venv/bin/python"
    (wheel,) = place.glob("*.whl")
    run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)])
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    here = sysconfig.get_path("purelib")
    Path(site.decode().strip(), "others.pth").write_text(f"{here}\n")  # names a folder, runs no .pth in it
    return python


TABLES = """
from pathlib import Path
import mstl
from mstl.data.readers import studio
from mstl.report import results, trust
from mstl.report.local import diagnosis
from mstl.system.cache import cache_folder
print(len(results.load("../results", "studio", "images")), results.available("../results/grid"))
print(len(trust.load("results/trust", "claims")))
runs = diagnosis.load("../results/grid", "studio", "runs")
print(len(runs), sorted(diagnosis.pictures("../results/grid", runs.iloc[0], "cases")))
print(len(studio.listing(studio.locate(None, cache_folder())).records))
print(mstl.__file__)
"""


def test_tables_and_cars_of_the_installed_revision_are_fetched_once(colab, capsys, monkeypatch):
    ended = colab.run(TABLES)
    assert ended.returncode == 0, ended.stderr
    said, *fetched, package = ended.stdout.splitlines()
    assert said.startswith("Tables of https://") and said.endswith(f"/someone/mstl at {VERSION}.")
    assert package.startswith(str(colab.python.parents[1]))
    monkeypatch.chdir(ROOT / "notebooks")
    exec(TABLES, {})
    assert fetched == capsys.readouterr().out.splitlines()[:-1] != []
    assert len(colab.asked) == len(set(colab.asked)) == 2


@pytest.mark.parametrize("place", [ROOT, ROOT / "notebooks", None], ids=["root", "notebooks", "elsewhere"])
def test_in_a_clone_a_page_may_work_anywhere(place, tmp_path, monkeypatch):
    (tmp_path / "content").mkdir()
    monkeypatch.chdir(place or tmp_path / "content")
    found = tables.place("../results/grid")
    assert found.samefile(ROOT / "results/grid") and not tables.place("../results/nothing").exists()


@pytest.fixture
def no_clone(tmp_path, monkeypatch) -> Path:
    """This process as if its package lay elsewhere; the repository is nowhere. Returns where it works."""
    monkeypatch.setattr(tables, "CLONE", tmp_path / "site-packages")
    monkeypatch.setattr(project, "address", lambda: "https://127.0.0.1:9/someone/mstl")
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    tables._fetched.cache_clear()
    (tmp_path / "content").mkdir()
    monkeypatch.chdir(tmp_path / "content")
    return tmp_path / "content"


@pytest.mark.parametrize("folder", ["../results", "../results/grid", "results"])
def test_without_a_network_one_line_says_what_to_do(no_clone, folder):
    with pytest.raises(InputError) as caught:
        results.load(folder, "studio", "runs")
    message = str(caught.value)
    assert "cannot download https://127.0.0.1:9/someone/mstl/archive/" in message and "\n" not in message
    assert message.endswith("connect to the network, or name a folder of your own tables")
    assert "data_dir" not in message and not list(no_clone.parent.glob("cache/*"))


def test_an_archive_without_tables_is_refused(no_clone, served, monkeypatch):
    folder, address = served
    with zipfile.ZipFile(folder / "repository.zip", "w") as archive:
        archive.writestr("mstl-1/README.md", "no results")
    monkeypatch.setattr(project, "installed_archive", lambda: f"{address}/repository.zip")
    monkeypatch.setattr(download, "installed_archive", project.installed_archive)
    with pytest.raises(InputError, match="holds no results/"):
        results.available("../results")
    assert not list(no_clone.parent.glob("cache/*"))


def test_tables_of_ones_own_come_first_and_are_never_mixed_with_the_book_s(no_clone):
    (no_clone / "results/mine").mkdir(parents=True)
    with pytest.raises(InputError, match=r"runs.csv does not exist; make it with `make reproduce"):
        results.load("../results", "studio", "runs")
    with pytest.raises(InputError, match=r"elsewhere.*runs.csv does not exist; make it with"):
        results.load("elsewhere/results", "studio", "runs")  # nor fetched where another folder is named


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_run_all_ends_on_every_page(colab, page):
    ended = colab.run(EXECUTE, page)
    assert ended.returncode == 0, ended.stderr[-2000:]
