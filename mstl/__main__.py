"""Command line: ``python -m mstl train|layers|weights|predict|fetch|release|collect|diagnose|tiles|...``."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tyro
except ModuleNotFoundError as error:
    sys.exit(
        f"error: the package {error.name!r} is missing in this Python. In the repository: `make setup`, then "
        "`.venv/bin/python -m mstl ...`, or `source .venv/bin/activate` first; elsewhere: pip install mstl"
    )

from mstl.run.config import TrainConfig
from mstl.system.errors import InputError


def train(config: tyro.conf.OmitArgPrefixes[TrainConfig], film: int = 0) -> None:
    """Train and evaluate one method on one task; go on where an interrupted run stopped.

    Args:
        config: what to train.
        film: store attention maps for `diagnose` at log points at least FILM steps apart; 0 stores none.
    """
    from mstl.run.snapshots import Snapshots
    from mstl.run.train import train as run
    from mstl.system.interrupt import leave_cleanly_on_sigterm

    leave_cleanly_on_sigterm()

    print(run(config, Snapshots(film) if film else None))


def layers(
    config: tyro.conf.OmitArgPrefixes[TrainConfig],
    steps_each: int = 20,
    particles: int = 10,
    iterations: int = 5,
) -> None:
    """Search on validation how many layers of each network of AMCF stand still, then train with the best.

    Args:
        config: the run, of method amcf.
        steps_each: steps of every evaluation.
        particles: of the swarm.
        iterations: of the swarm; particles·(iterations + 1) places are tried.
    """
    from mstl.run.layers import search_layers
    from mstl.system.interrupt import leave_cleanly_on_sigterm

    leave_cleanly_on_sigterm()
    print(*search_layers(config, steps_each, particles, iterations), sep="\n")


def weights(
    file: Path, encoder: str, out: Path, mean: float = 127.5, deviation: float = 127.5, padding: str = ""
) -> None:
    """Write a folder that --weights-dir can hold, from weights of another library's, FILE.

    Args:
        file: a state dict, of tensors alone.
        encoder: timm's name of the network that it is of.
        out: folder to write.
        mean: the network was fed (x - MEAN) / DEVIATION, of pixels x in 0..255.
        deviation: see mean.
        padding: same, if it was trained in TensorFlow.
    """
    from mstl.nn.weights import convert

    print(convert(file, encoder, out, mean, deviation, padding))


def collect(runs: str = "runs", out: str = "results", compact: bool = False) -> None:
    """Gather all finished runs below RUNS into the tables below OUT: Dice of masks, accuracy of classes.

    Args:
        runs: folder of all runs.
        out: folder of the tables, one folder for each data set.
        compact: means per car instead of a row for each image, for many runs.
    """
    from mstl.report import results

    for path in (results.collect_compact if compact else results.collect)(runs, out):
        print(path)


def diagnose(run: str, out: str = "results/grid", data_dir: str | None = None) -> None:
    """Measure what the scores of a finished run on masks do not show: heads, features, attention, cases.

    Args:
        run: folder of the run.
        out: folder of the tables.
        data_dir: folder of the data, where it is not embedded.
    """
    from mstl.report.local.diagnose import diagnose as measure

    for path in measure(run, out, data_dir):
        print(path)


def predict(run: str, images: str, out: str, device: str = "cpu") -> None:
    """Predict the images of a folder with a finished run: their masks, or a table of their classes, in OUT.

    Args:
        run: folder of the run, or release:NAME of a released one, as `fetch` lists them.
        images: folder of the images.
        out: folder for the masks, or for predictions.csv with file, class and its probability.
        device: auto, cpu or cuda.
    """
    from mstl.run.inference import predict_folder

    written = predict_folder(run, images, out, device)
    print(written[0] if written[0].suffix == ".csv" else f"{len(written)} masks in {out}")


def fetch(name: str = "") -> None:
    """Download a trained network of this version's release, once, and print its folder; list all by default.

    Args:
        name: one of those that are listed.
    """
    from mstl.run.release import fetch_run, released

    if name:
        print(fetch_run(name))
        return
    for entry in released():
        print(f"{entry.name}  {entry.bytes / 1e6:.1f} MB  {entry.says}  {entry.command}")


def release(runs: str = "runs", out: str = "release") -> None:
    """Write what a release offers to `fetch`: a zip file of each finished run below RUNS, and their index.

    Args:
        runs: folder of all runs.
        out: folder to write; it must not exist.
    """
    from mstl.run.release import make_release

    for path in make_release(runs, out):
        print(path)


def tiles(folder: str, out: str, size: tuple[int, int] = (128, 128)) -> None:
    """Cut the large images of FOLDER, and their masks, into tiles at full resolution, a folder OUT.

    Args:
        folder: with images/ and masks/.
        out: folder to write; it must not exist.
        size: height and width of a tile in pixels.
    """
    from mstl.data.tiles import cut_folder

    print(f"{cut_folder(folder, out, size)} tiles in {out}")


def methods() -> None:
    """List the methods and their hyper-parameters with defaults."""
    from dataclasses import fields

    from mstl.methods import METHODS, find

    for name in METHODS:
        print(name + ": " + ", ".join(f"{f.name}={f.default}" for f in fields(find(name).Hyperparameters)))


def main() -> None:
    """Entry point; bad input ends with one line and status 2."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "train": train,
                "layers": layers,
                "weights": weights,
                "predict": predict,
                "fetch": fetch,
                "release": release,
                "collect": collect,
                "diagnose": diagnose,
                "tiles": tiles,
                "methods": methods,
            },
            prog="mstl",
        )
    except InputError as error:
        print(f"mstl: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        what = str(error) or "interrupted; the same command goes on from the last checkpoint"
        print(f"mstl: {what}", file=sys.stderr)
        sys.exit(getattr(error, "status", 130))


if __name__ == "__main__":
    main()
