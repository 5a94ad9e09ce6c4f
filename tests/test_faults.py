"""Faults of the machine and of the numbers: what a run says, and what it leaves."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import toy_task
from drawn_cars import carvana_folder

from mstl.data import load
from mstl.run import train as training
from mstl.run.checkpoint import save_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError
from mstl.system.files import append_line
from mstl.system.interrupt import Interrupted, postponed
from mstl.system.locks import alone_in, only_one


def tiny(folder: Path, **options) -> TrainConfig:
    return TrainConfig(
        **{"profile": "tiny", "out": str(folder / "runs"), "labels": 4, "method": "source_combine", **options}
    )


def run(config: TrainConfig, on_log=None) -> Path:
    return train(config, on_log, task=toy_task(labels=config.labels))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["method"]


def at(step: int, act) -> None:
    def on_log(trainer: Trainer) -> None:
        if trainer.step == step:
            act(trainer)

    return on_log


@pytest.fixture(autouse=True)
def sigint_is_heard():
    """A shell starts what runs in its background with SIGINT ignored, and then nobody could test it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that nothing disturbed."""
    return run(tiny(tmp_path_factory.mktemp("whole")))


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of its own with room for ``kib``."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs the rights of root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.trust("faults", "a second run on the folder of a run that is being trained refuses to start")
def test_the_second_run_on_one_folder_refuses(tmp_path):
    refusals = []

    def again(trainer):
        with pytest.raises(InputError, match="another process is training this run") as caught:
            run(tiny(tmp_path, steps=5))
        refusals.append(str(caught.value))

    folder = run(tiny(tmp_path, steps=5), at(5, again))
    assert len(refusals) == 1 and str(folder) in refusals[0] and "\n" not in refusals[0]
    assert (folder / "manifest.json").exists()


def test_the_lock_ends_with_its_process(tmp_path):
    code = f"""
from pathlib import Path
import time
from mstl.system.locks import alone_in
with alone_in(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError), alone_in(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with alone_in(tmp_path):
        pass


def test_where_files_cannot_be_locked_training_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    import fcntl

    def unsupported(file, flags):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with only_one(tmp_path / "a" / ".lock", wait=False), only_one(tmp_path / "a" / ".lock", wait=False):
        pass
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(".lock cannot be locked here" in line for line in said)


@pytest.mark.trust(
    "faults",
    "SIGINT and SIGTERM let the step end and write a checkpoint from which the run ends as if undisturbed",
)
@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGINT, 3), (signal.SIGTERM, 10), (signal.SIGTERM, 13), (signal.SIGINT, 20)]
)
def test_a_signal_leaves_a_checkpoint_and_the_run_goes_on_from_it(whole, tmp_path, monkeypatch, number, step):
    update = Trainer.update

    def signalled(self):
        if self.step == step - 1:
            os.kill(os.getpid(), number)
        return update(self)

    config = tiny(tmp_path / "stopped")
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with (
        monkeypatch.context() as patch,
        pytest.raises(Interrupted, match=f"{number.name} after step {step} of 20"),
    ):
        patch.setattr(Trainer, "update", signalled)
        run(config)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert torch.load(config.folder / "checkpoint.pt", weights_only=True)["step"] == step
    folder = run(config)
    expected, found = tensors(whole), tensors(folder)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert (whole / "images.csv").read_bytes() == (folder / "images.csv").read_bytes()
    lines = [
        [{**json.loads(line), "seconds": 0} for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (whole, folder)
    ]
    assert lines[0] == lines[1]


def test_a_second_signal_is_obeyed_at_once():
    with pytest.raises(KeyboardInterrupt), postponed() as signalled:
        os.kill(os.getpid(), signal.SIGINT)
        assert signalled() == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("still here")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_a_thread_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with postponed() as signalled:
            seen.append((signal.getsignal(signal.SIGINT), signalled()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with postponed() as signalled:
            os.kill(os.getpid(), signal.SIGINT)
            assert signalled() == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_is_the_shell_s_status():
    assert [Interrupted(n, "").status for n in (signal.SIGINT, signal.SIGTERM)] == [130, 143]


def test_the_command_line_leaves_with_one_line_and_the_shell_s_status(tmp_path):
    number = signal.SIGINT
    config = tiny(tmp_path, steps=5000)
    command = [sys.executable, "-m", "mstl", "train", "--profile", "tiny", "--labels", "4", "--steps", "5000"]
    command += ["--method", config.method, "--out", config.out]
    # Started by a shell in the background, a process ignores SIGINT.
    process = subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    lines, until = config.folder / "metrics.jsonl", time.monotonic() + 300
    while not (lines.exists() and lines.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == Interrupted(number, "").status, error
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"mstl: {number.name} after step") and "the same command goes on" in last
    assert (config.folder / "checkpoint.pt").exists()


@pytest.mark.trust(
    "faults",
    "a loss that is not finite stops the run with the loss's name, its step and a sound last checkpoint",
)
@pytest.mark.parametrize(
    ("name", "bad", "value"),
    [("source", 12, math.nan), ("target", 15, math.inf), ("target", 16, math.nan), ("source", 20, -math.inf)],
)
def test_a_loss_that_is_not_finite_is_named_with_its_first_step(tmp_path, monkeypatch, name, bad, value):
    config = tiny(tmp_path)
    losses = training.methods.find(config.method).losses

    def poisoned(self, batch, progress):
        result = losses(self, batch, progress)
        step = round(progress * 20) + 1
        # A constant leaves the gradient alone: the weights stay finite, and only this loss is to blame.
        return result | ({name: result[name] + value} if self.training and step == bad else {})

    monkeypatch.setattr(training.methods.find(config.method), "losses", poisoned)
    with pytest.raises(InputError, match=rf"loss not finite: {name} at step {bad}; the last good checkpoint"):
        run(config)
    state = torch.load(config.folder / "checkpoint.pt", weights_only=True)
    assert state["step"] == 10
    lines = (config.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5, 10] + ([15] if bad > 15 else [])


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    def poison(trainer):
        with torch.no_grad():
            next(trainer.method.parameters()).view(-1)[0] = float("nan")

    with pytest.raises(InputError, match=r"weights not finite after step 20: method\.network"):
        run(tiny(tmp_path), at(20, poison))
    folder = tiny(tmp_path).folder
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 10
    assert all(t.isfinite().all() for t in tensors(folder).values())


def test_weights_that_break_stop_the_run_at_the_next_step(tmp_path):
    def poison(trainer):
        with torch.no_grad():
            next(trainer.method.parameters()).fill_(float("nan"))

    with pytest.raises(InputError, match="loss not finite: source at step 16, target at step 16"):
        run(tiny(tmp_path), at(15, poison))


def nothing_half_written(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def whole_lines(folder: Path) -> list[int]:
    text = (folder / "metrics.jsonl").read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["step"] for line in text.splitlines()]


@pytest.mark.trust(
    "faults",
    "a full disk is one clear line; finished lines and the last good checkpoint stay, nothing half-written",
)
@pytest.mark.parametrize("moment", ["metrics", "checkpoint", "images.csv", "manifest.json"])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_when_there_is_room(
    whole, tmp_path, monkeypatch, moment
):
    with small_disk(tmp_path / "disk", 4096) as disk:
        config, filler = tiny(disk), disk / "filler"

        def fill(*_):
            with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        def fill_at(trainer):
            if trainer.step == 15 and moment == "metrics":
                # Lines shorter than a page still fit into the last one.
                room = -(trainer.config.folder / "metrics.jsonl").stat().st_size % 4096
                append_line(trainer.config.folder / "metrics.jsonl", "{" + '"step": 15}'.rjust(room - 20))
                fill()
            if trainer.step == 15 and moment == "checkpoint":
                fill()

        with monkeypatch.context() as patch:
            if moment == "images.csv":
                patch.setattr(Trainer, "evaluate", _before(Trainer.evaluate, fill))
            if moment == "manifest.json":
                patch.setattr(
                    training.provenance, "peak_memory", _before(training.provenance.peak_memory, fill)
                )
            name = {"metrics": "metrics.jsonl", "checkpoint": "checkpoint.pt"}.get(moment, moment)
            with pytest.raises(InputError, match=rf"cannot write .*{name}: the disk is full; make room"):
                run(config, fill_at)
        assert nothing_half_written(disk)
        steps = whole_lines(config.folder)
        assert steps[:3] == [5, 10, 15]
        state = torch.load(config.folder / "checkpoint.pt", weights_only=True)
        assert state["step"] == (20 if moment in ("images.csv", "manifest.json") else 10)
        filler.unlink()
        folder = run(config)
        assert all(
            torch.equal(a, b) for a, b in zip(tensors(whole).values(), tensors(folder).values(), strict=True)
        )
        assert (whole / "images.csv").read_bytes() == (folder / "images.csv").read_bytes()
        assert whole_lines(folder) == [5, 10, 15, 20]


def _before(function, act):
    def both(*arguments):
        act()
        return function(*arguments)

    return both


def test_a_limit_on_the_size_of_files_is_one_clear_error(tmp_path):
    kept = tmp_path / "checkpoint.pt"
    save_checkpoint(kept, {"step": 1})
    before = kept.read_bytes()
    lines = tmp_path / "metrics.jsonl"
    append_line(lines, "one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match=r"checkpoint\.pt: the file would be larger than"):
            save_checkpoint(kept, {"step": 2, "weights": torch.zeros(100_000)})
        with pytest.raises(InputError, match=r"metrics\.jsonl: the file would be larger than"):
            append_line(lines, "two" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept.read_bytes() == before and lines.read_text() == "one\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.jsonl"]


def test_a_file_where_the_run_s_folder_should_be_is_one_clear_error(tmp_path):
    config = tiny(tmp_path)
    config.folder.parent.mkdir(parents=True)
    config.folder.write_text("in the way")
    with pytest.raises(InputError, match=r"out=.*seed-0 is no folder; choose another out"):
        run(config)


def read_only(folder: Path, stack: contextlib.ExitStack) -> Path:
    """``folder`` as a place where nobody, not even root, can write."""
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o500)
        stack.callback(folder.chmod, 0o700)
        return folder
    for command in (["mount", "--bind"], ["mount", "-o", "remount,ro,bind"]):
        if subprocess.run([*command, str(folder), str(folder)], capture_output=True).returncode:
            pytest.skip("root can write everywhere here, and cannot mount")
        if "--bind" in command:
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    return folder


@pytest.mark.trust("faults", "where the cache cannot be written training goes on with a warning")
@pytest.mark.parametrize("obstacle", ["read-only", "a file in the way"])
def test_without_a_writable_cache_images_are_decoded_each_time(tmp_path, capsys, obstacle):
    cars = carvana_folder(tmp_path / "cars", cars=2, views=(1, 2))
    expected = load("studio", (32, 48), cars, tmp_path / "cache").fingerprint()
    capsys.readouterr()
    with contextlib.ExitStack() as stack:
        cache = tmp_path / "forbidden"
        if obstacle == "read-only":
            read_only(cache, stack)
        else:
            cache.write_text("a file where the folder should be")
        assert load("studio", (32, 48), cars, cache).fingerprint() == expected
        warning = capsys.readouterr().err.splitlines()
        assert len(warning) == 1 and "images are not kept" in warning[0] and "MSTL_CACHE" in warning[0]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[TrainConfig, bytes]:
    """A run that stopped at step 10, and its checkpoint."""

    def stop(trainer):
        raise RuntimeError("stopped")

    config = tiny(tmp_path_factory.mktemp("stopped"), method="dann", ema=0.9)
    with pytest.raises(RuntimeError):
        run(config, at(15, stop))
    return config, (config.folder / "checkpoint.pt").read_bytes()


def first(state: dict) -> str:
    return next(iter(state["method"]))


MISFITS = {
    "a weight is missing": (lambda s: s["method"].pop(first(s)), "Missing key"),
    "another shape": (lambda s: s["method"].update({first(s): torch.zeros(2)}), "size mismatch"),
    "not finite": (lambda s: s["method"][first(s)].fill_(float("nan")), "is not finite"),
    "an optimiser is missing": (lambda s: s["optimisers"].pop(), "argument 2 is shorter"),
    "another seed": (lambda s: s["batches"].update(seed=3), "seed is 3 there"),
    "a part is missing": (lambda s: s.pop("rng"), "rng"),
    "settings of another kind": (lambda s: s.update(settings=[1]), "belongs to another configuration"),
}


@pytest.mark.trust("faults", "a checkpoint that does not fit its run is refused in one line")
@pytest.mark.parametrize("damage", MISFITS)
def test_a_checkpoint_that_does_not_fit_is_refused(stopped, tmp_path, damage):
    (config, whole), path = stopped, tmp_path / "checkpoint.pt"
    path.write_bytes(whole)
    damaged, message = MISFITS[damage]
    state = torch.load(path, weights_only=True)
    identity = {key: state[key] for key in ("settings", "data_fingerprint", "source_fingerprint")}
    damaged(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=message) as caught:
        Trainer(config, toy_task(labels=config.labels)).restore(path, identity)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", '{"settings": {}}'])
def test_a_damaged_manifest_is_one_clear_error(tmp_path, text):
    config = tiny(tmp_path)
    config.folder.mkdir(parents=True)
    (config.folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        run(config)
