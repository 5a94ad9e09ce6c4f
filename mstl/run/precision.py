"""Which precision a run computes in, and why: as asked, as the device has it, or by a short calibration."""

from __future__ import annotations

import json
import statistics
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from mstl.nn import SubNetwork, segmentation_loss
from mstl.nn.encoders import OURS
from mstl.nn.unet import Encoder
from mstl.run.config import TrainConfig
from mstl.run.device import find_device
from mstl.run.names import changes_of
from mstl.run.provenance import processor
from mstl.system.cache import cache_folder
from mstl.system.errors import InputError
from mstl.system.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

NARROW = 8  # below this width converting always cost more than it saved (benchmarks/bench_layout.py)
STARTS = ("weights", "models")  # overrides that name networks that are trained
ROUNDS = 5
IMAGES = (4, 3, 64, 96)


class Choice(NamedTuple):
    """A precision in Fabric's words, and the reason for the manifest."""

    precision: str
    reason: str


def choose(config: TrainConfig, vectors: bool = False) -> Choice:
    """The precision of a run, on images or on ``vectors``.

    ``config.precision`` unless that is "auto"; a CPU computes 16-mixed in bfloat16. For "auto" on a GPU
    bfloat16, or float16 where the GPU has no bfloat16; on a CPU bfloat16 where the processor has it, images
    are read by a network of ours that is not narrow, and a calibration says that it does not cost time.
    """
    on_gpu = find_device(config.device) == "cuda"
    if config.precision == "16-mixed" and not on_gpu:  # Fabric would take bfloat16, too
        return Choice("bf16-mixed", "16-mixed was asked for, which a CPU has not")
    if config.precision != "auto":
        return Choice(config.precision, "as asked")
    if on_gpu:
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16-mixed", "the GPU has bfloat16")
        return Choice("16-mixed", "the GPU has no bfloat16")
    if vectors:  # benchmarks/bench_step.py
        return Choice("32-true", "of an MLP, converting the weights takes what bfloat16 saves")
    if _foreign(config.overrides):
        return Choice("32-true", "calibrated for our U-Net alone; depthwise convolutions crawl in bfloat16")
    width = config.profiled("width")
    if width < NARROW:
        return Choice("32-true", f"the network is narrower than {NARROW} channels")
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return Choice("32-true", "the processor has no bfloat16")
    ratio = calibrated(width)
    kept = "bf16-mixed" if ratio <= 1 else "32-true"
    return Choice(kept, f"calibrated: bfloat16 takes {ratio:.2f} of float32's time at width {width}")


def _foreign(overrides: str) -> bool:
    """Whether a run's network is another library's, as far as its overrides tell."""
    said = dict(changes_of(overrides))
    return said.get("encoder", "auto") not in ("auto", *OURS) or not said.keys().isdisjoint(STARTS)


def calibrated(width: int) -> float:
    """Time of a training pass in bfloat16 over that in float32; measured once for a machine and kept.

    The file ``calibration.json`` lies in the cache folder of `mstl.data`; a machine is its processor, the
    number of threads and the version of PyTorch. What is kept makes equal commands give equal numbers: at a
    ratio near 1 two measurements could choose differently.
    """
    key = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, width {width}"
    return _calibrated(cache_folder() / "calibration.json", key, width)


@cache  # where nothing can be written, one process at least stays with its choice
def _calibrated(path: Path, key: str, width: int) -> float:
    known = _read(path)
    if key not in known:
        known[key] = measured(width)
        with suppress(InputError, OSError), replacing(path) as temporary:
            temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known[key]


def _read(path: Path) -> dict[str, float]:
    """What was measured before; nothing where the file is absent or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float) and value > 0}


def measured(width: int) -> float:
    """Median over rounds of the ratio, for one sub-network of ``width`` on four images; about a second."""
    with torch.random.fork_rng(devices=[]):  # calibrating must not move a run's random numbers
        network = SubNetwork(Encoder(width))
        images, masks = torch.randn(IMAGES), torch.ones(IMAGES)[:, :1]
    ratios = []
    for turn in range(ROUNDS + 1):
        seconds = {}
        for half in (True, False) if turn % 2 else (False, True):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = segmentation_loss(network(images).logits, masks)
            loss.backward()
            seconds[half] = time.perf_counter() - start
        if turn:  # the first passes prepare kernels
            ratios.append(seconds[True] / seconds[False])
    return statistics.median(ratios)
