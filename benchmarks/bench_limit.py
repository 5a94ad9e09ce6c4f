"""How far is a training step from what this machine can do at best?

    python benchmarks/bench_limit.py [--profile quick] [--rounds 7] [--quick]

FLOPs of a step's forward and backward passes are counted by PyTorch's counter, bytes by `counting`. The
machine's own rates are those of a large matrix product, in the precision the step uses, and of a large copy,
measured in the same run. A step can be no faster than FLOPs over the first and, as long as every operation
is a kernel of its own, bytes over the second; both ratios say how many times longer it takes.
"""

from __future__ import annotations

import torch
from bare import bare_step, prepared
from counting import ByteCounter, copy_bytes
from options import options
from rounds import alternate
from table import Table
from torch.utils.flop_counter import FlopCounterMode

SIDE = 2048  # of the matrices, large enough for the best rate


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 7, quick="the profile tiny and one round")
    parser.add_argument("--profile", default="quick")
    chosen = parser.parse_args()
    profile, rounds = ("tiny", 1) if chosen.quick else (chosen.profile, chosen.rounds)
    torch.set_num_threads(1)
    trainer, batch = prepared(profile=profile)
    device = trainer.fabric.device
    with FlopCounterMode(display=False) as flops:
        bare_step(trainer, batch)
    with ByteCounter() as moved:
        bare_step(trainer, batch)
    half = trainer.fabric.strategy.precision.precision != "32-true"
    matrices = {
        name: torch.randn(SIDE, SIDE, device=device, dtype=dtype)
        for name, dtype in {"bfloat16": torch.bfloat16, "float32": torch.float32}.items()
    }
    source, copy = (buffer.to(device) for buffer in copy_bytes())
    works = {
        "step": lambda: trainer.record.add(trainer.update()),
        "bare": lambda: bare_step(trainer, batch),
        **{name: (lambda m=matrix: m @ m) for name, matrix in matrices.items()},
        "copy": lambda: copy.copy_(source),
    }
    times = alternate(works, rounds, block=0.5)

    count, volume = flops.get_total_flops(), moved.bytes
    table = Table("limit")
    table.add("FLOPs of a step", [count / 1e9], "GFLOP", note=f"profile {profile}, method mstl")
    table.add("bytes of a step", [volume / 1e9], "GB", note="of all operations, each a kernel of its own")
    rates = {name: [2 * SIDE**3 / t / 1e9 for t in times[name]] for name in matrices}
    for name, values in rates.items():
        table.add(f"matrix product, {name}", values, "GFLOP/s", better="higher")
    copied = [2 * source.numel() / t / 1e9 for t in times["copy"]]
    table.add("copy", copied, "GB/s", better="higher")
    used = rates["bfloat16" if half else "float32"]
    for name in ("step", "bare"):
        label = "step" if name == "step" else "bare compute"
        table.add(f"{label}, time", [1e3 * t for t in times[name]], "ms", better="lower")
        by_flops = [t * rate * 1e9 / count for t, rate in zip(times[name], used, strict=True)]
        by_bytes = [t * rate * 1e9 / volume for t, rate in zip(times[name], copied, strict=True)]
        both = [
            t / (count / r / 1e9 + volume / c / 1e9)
            for t, r, c in zip(times[name], used, copied, strict=True)
        ]
        table.add(f"{label} over FLOPs at the rate of a matrix product", by_flops, better="lower")
        table.add(f"{label} over bytes at the rate of a copy", by_bytes, better="lower")
        table.add(f"{label} over both, one after the other", both, better="lower")
    table.write()


if __name__ == "__main__":
    main()
