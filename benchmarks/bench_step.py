"""How much does a training step cost beyond the arithmetic of its networks?

    python benchmarks/bench_step.py [--profile quick] [--rounds 9] [--quick]

``step`` is `Trainer.update` and the record of its losses: draw and augment a batch, forward, backward,
every optimiser, the extra discriminator updates, averaged weights. ``bare`` is the forward, backward and
optimiser steps of the same networks on one batch that is already there. They take turns, in one thread.
What the difference is made of is measured beside it, piece by piece.
"""

from __future__ import annotations

import torch
from bare import bare_step, prepared
from options import options
from rounds import alternate, ratios
from table import Table


def main() -> None:
    """Measure and write the table."""
    parser = options(__doc__, 9, quick="the profile tiny and one round")
    parser.add_argument("--profile", default="quick")
    chosen = parser.parse_args()
    profile, rounds = ("tiny", 1) if chosen.quick else (chosen.profile, chosen.rounds)
    torch.set_num_threads(1)
    table = Table("step")
    for method in ("mstl", "mstl_plus", "source_combine"):
        trainer, batch = prepared(profile=profile, method=method)
        # The teacher of MSTL-plus is part of its arithmetic: the bare step gets a batch it has labelled.
        batch = trainer._taught(batch)
        works = {
            "step": lambda: trainer.record.add(trainer.update()),  # noqa: B023
            "bare": lambda: bare_step(trainer, batch),  # noqa: B023
        }
        if method == "mstl":
            works |= {
                "gather and augment a batch": lambda: next(trainer.batches),  # noqa: B023
                "average the weights": lambda: trainer.averaged.update_parameters(trainer.method),  # noqa: B023
            }
        if method == "mstl_plus":
            works["ask the teacher"] = lambda: trainer._taught(batch)  # noqa: B023
        times = alternate(works, rounds, block=1.0)
        bar = "<= 1.05" if method != "mstl_plus" else ""
        table.add(
            "step over bare compute",
            ratios(times["step"], times["bare"]),
            at=method,
            bar=bar,
            why="what the engine adds is averaging the weights, drawing and augmenting a batch",
            better="lower",
            note="the teacher's forward pass is not in the bare step" if method == "mstl_plus" else "",
        )
        for name, taken in times.items():
            share = [t / b for t, b in zip(taken, times["bare"], strict=True)]
            table.add(f"{name}, time", [1e3 * t for t in taken], "ms", at=method, better="lower")
            if name not in ("step", "bare"):
                table.add(f"{name}, share of bare compute", share, "share", at=method, better="lower")
    table.write()


if __name__ == "__main__":
    main()
