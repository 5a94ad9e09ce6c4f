"""Command line: ``python -m mstl train|predict|collect|methods``."""

from __future__ import annotations

import sys

import tyro

from mstl.config import TrainConfig
from mstl.errors import InputError


def train(config: tyro.conf.OmitArgPrefixes[TrainConfig]) -> None:
    """Train and evaluate one method on one task; go on where an interrupted run stopped."""
    from mstl.train import train as run

    print(run(config))


def collect(runs: str = "runs", out: str = "results") -> None:
    """Gather all finished runs below RUNS into the tidy tables below OUT."""
    from mstl.results import collect as gather

    for path in gather(runs, out):
        print(path)


def predict(run: str, images: str, out: str, device: str = "cpu") -> None:
    """Segment the images of a folder with a finished run and write their masks to OUT."""
    from mstl.inference import predict_folder

    print(f"{len(predict_folder(run, images, out, device))} masks in {out}")


def methods() -> None:
    """List the methods and their hyper-parameters with defaults."""
    from dataclasses import fields

    from mstl.methods import METHODS

    for name, kind in METHODS.items():
        print(name + ": " + ", ".join(f"{f.name}={f.default}" for f in fields(kind.Hyperparameters)))


def main() -> None:
    """Entry point; bad input ends with one line and status 2."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"train": train, "predict": predict, "collect": collect, "methods": methods}, prog="mstl"
        )
    except InputError as error:
        print(f"mstl: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mstl: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
