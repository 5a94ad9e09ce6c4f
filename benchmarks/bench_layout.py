"""Which memory layout and precision suit MSTL's sub-networks on this processor?

    python benchmarks/bench_layout.py [--width 16] [--threads 1]

Forward and backward of three sub-networks on eight images of 64×96, in float32 and bfloat16, with channels
first and last; medians of blocks that take turns. Ratios are to float32 with channels first.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from mstl.nn import SubNetworks, segmentation_loss


def main() -> None:
    """Measure the four combinations and print a line each."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--width", type=int, default=16)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--repeat", type=int, default=5)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    images, masks = torch.randn(8, 3, 64, 96), torch.zeros(8, 1, 64, 96)
    layouts = {"first": torch.contiguous_format, "last": torch.channels_last}
    times: dict[tuple[str, str], list[float]] = {}
    networks = {name: SubNetworks(3, width=chosen.width).to(memory_format=f) for name, f in layouts.items()}
    for _ in range(chosen.repeat + 1):  # the first round warms up
        for layout, network in networks.items():
            for precision in ("float32", "bfloat16"):
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    losses = [segmentation_loss(output.logits, masks) for output in network(images)]
                torch.stack(losses).sum().backward()
                times.setdefault((precision, layout), []).append(time.perf_counter() - start)
    medians = {key: statistics.median(values[1:]) for key, values in times.items()}
    for (precision, layout), seconds in medians.items():
        ratio = seconds / medians["float32", "first"]
        print(f"{precision:<9} channels {layout:<6}{1e3 * seconds:>8.0f} ms {ratio:>6.2f}×")


if __name__ == "__main__":
    main()
