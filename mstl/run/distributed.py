"""One run in several processes: the same global batch, the same losses, the networks' rows divided.

Every process draws the whole batch of a step and computes every loss on all of it. Only the networks, where
the time goes, see a share of the rows: each process runs its own, and the outputs are gathered. So whatever
couples rows (a batch's moments, an adversary's bank, pasted pieces) is what it is in one process, for every
method, and the result differs by rounding alone. The price against plain data parallelism: outputs travel,
not only gradients.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from mstl.nn import MLP, Classifier, Encoder, LeNet, Predictor, SubNetwork, TimmEncoder
from mstl.run.device import find_device
from mstl.system.errors import InputError
from mstl.system.interrupt import RESUMES, Interrupted, postponed

SHARED = (Encoder, TimmEncoder, LeNet, MLP, Predictor, Classifier, SubNetwork)


class Team:
    """The processes of one run; a run in one process is a team of one, for which nothing here does anything.

    Args:
        rank: of this process, from 0.
        world: number of processes W.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world
        self._active = self._inside = False
        # On the processor: agreeing must not wait for a GPU.
        self._signals = dist.new_group(backend="gloo") if world > 1 else None

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, method: nn.Module) -> None:
        """Let the networks of ``method`` run on a share of the rows inside `working`.

        Raises:
            InputError: a network normalises over its rows.
        """
        if self.world == 1:
            return
        if any(isinstance(module, _BatchNorm) for module in method.modules()):
            raise InputError(
                "devices > 1 needs a norm that treats every image by itself; set norm=group or devices=1"
            )
        for module in method.modules():
            if isinstance(module, SHARED):
                # A sub-network's logits are of some rows alone: its parts are shared, not the whole.
                name = "represent" if isinstance(module, SubNetwork) else "forward"
                setattr(module, name, _Shared(self, getattr(module, name)))

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A step: the networks share the rows of their inputs, where W divides their number."""
        self._active = True
        try:
            yield
        finally:
            self._active = False

    def run(self, forward: Callable, inputs: Any, *rest: Any) -> Any:
        """``forward(inputs, *rest)`` on this process's rows, and everybody's outputs in the order of rows."""
        rows = len(inputs if isinstance(inputs, Tensor) else inputs[0])
        if not self._active or self._inside or rows % self.world:
            return forward(inputs, *rest)
        self._inside = True
        try:
            outputs = forward(_each(inputs, lambda x: _Scatter.apply(x, self)), *rest)
        finally:
            self._inside = False
        return _each(outputs, lambda x: _Gather.apply(x, self))

    def rows(self, n: int) -> slice:
        """This process's share of ``n`` rows."""
        share = n // self.world
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, x: Tensor) -> Tensor:
        """(n, …) of every process → (W·n, …)."""
        # As bytes, because not every backend knows every type.
        own = x.detach().contiguous().view(torch.uint8)
        parts = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(parts, own)
        return torch.cat(parts).view(x.dtype)

    @torch.no_grad()
    def average_gradients(self, module: nn.Module) -> None:
        """The mean over processes of every gradient, in one message."""
        if self.world == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, number: int) -> int:
        """The largest ``number`` of all processes: what one was told, all do after the same step."""
        if self.world == 1:
            return number
        largest = torch.tensor(number)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self._signals)
        return int(largest)


class _Shared:
    """A module's forward pass by the whole team."""

    def __init__(self, team: Team, forward: Callable) -> None:
        self.team, self.forward = team, forward

    def __call__(self, inputs: Any, *rest: Any) -> Any:
        return self.team.run(self.forward, inputs, *rest)


# Outside the networks every process holds the whole gradient, inside W times the share of its own rows:
# the mean over processes of a weight's gradient is right for both.


class _Scatter(Function):
    @staticmethod
    def forward(ctx, x: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return x[team.rows(len(x))].clone(memory_format=torch.preserve_format)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.team.gather(gradient) / ctx.team.world, None


class _Gather(Function):
    @staticmethod
    def forward(ctx, x: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return team.gather(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.team.rows(len(gradient))] * ctx.team.world, None


def _each(values: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """``function`` of every tensor in nested (named) tuples."""
    if isinstance(values, Tensor):
        return function(values)
    parts = [_each(value, function) for value in values]
    return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)


def launch(work: Callable[..., None], config: Any, *arguments: Any) -> None:
    """``work(team, config, *arguments)`` in ``config.devices`` processes; returns when all have ended.

    Ctrl-C and SIGTERM reach every process once.

    Raises:
        InputError, Interrupted: what a process raised.
    """
    world = config.devices
    if on_gpus(config) and world > torch.cuda.device_count():
        raise InputError(f"devices={world}, but torch finds {torch.cuda.device_count()} GPUs here")
    try:
        pickle.dumps(arguments)
    except Exception as error:
        raise InputError(
            f"devices > 1 hands on_log to other processes: it must be a module's function ({error})"
        ) from error
    with tempfile.TemporaryDirectory() as folder, postponed() as signalled:
        threads = max(1, torch.get_num_threads() // world)
        context = torch.multiprocessing.start_processes(
            _process, (folder, threads, work, config, *arguments), world, join=False, start_method="spawn"
        )
        told = 0
        try:
            while not context.join(timeout=0.2):
                if not told and (told := signalled()):
                    for process in context.processes:
                        process.terminate()
        except (
            torch.multiprocessing.ProcessRaisedException,
            torch.multiprocessing.ProcessExitedException,
        ) as error:
            told = told or signalled()  # a queue's signal reaches every process by itself
            _raise_reported(Path(folder), told)
            if told:
                raise Interrupted(told, RESUMES) from error
            raise
        finally:
            for process in context.processes:
                process.kill()
        _raise_reported(Path(folder), told)


def on_gpus(config: Any) -> bool:
    """Whether a run in several processes gives each a GPU."""
    return find_device(config.device) == "cuda"


def _process(
    rank: int, folder: str, threads: int, work: Callable[..., None], config: Any, *arguments: Any
) -> None:
    """One process of the team."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launching process hears it, and hands it on as SIGTERM
    torch.set_num_threads(threads)
    if gpus := on_gpus(config):
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if gpus else "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=config.devices,
    )
    try:
        work(Team(rank, config.devices), config, *arguments)
    except (InputError, Interrupted) as error:
        report = {"message": getattr(error, "message", str(error)), "number": getattr(error, "number", 0)}
        (Path(folder) / f"{rank}.json").write_text(json.dumps(report), encoding="utf-8")
        sys.stdout.flush()
        sys.exit(1)
    dist.destroy_process_group()


def _raise_reported(folder: Path, told: int) -> None:
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["number"]:
            raise Interrupted(told or report["number"], report["message"])
        raise InputError(report["message"])
