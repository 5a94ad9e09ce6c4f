"""Adaptive layer selection: how many layers of each network stand still, searched on validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mstl import methods
from mstl.data.task import Task
from mstl.measures.swarm import Swarm
from mstl.nn.frozen import convolutions
from mstl.run.config import TrainConfig
from mstl.run.train import train
from mstl.system.errors import InputError
from mstl.system.files import replacing


def search_layers(
    config: TrainConfig, steps: int, particles: int = 10, iterations: int = 5, task: Task | None = None
) -> tuple[Path, Path]:
    """Search the cuts of an AMCF run by a swarm of short runs, then train the run with the best.

    A place of the swarm is a number of frozen convolutions for each network; its fitness is the accuracy on
    *validation* images after ``steps`` steps. The released code takes the best epoch on test images; the
    table has both, so that it shows what that flatters. Every evaluation is a run of its own below
    ``<out>/search``: an interrupted search goes on with those that are there, and places that the swarm
    visits again cost nothing.

    Args:
        config: the run, of method amcf, without cuts.
        steps: of each evaluation.
        particles, iterations: of the swarm, which tries particles·(iterations + 1) places.
        task: sources and target, where they are at hand.

    Returns:
        The folder of the final run, and the table of the search.

    Raises:
        InputError: another method, or cuts that are named already.
    """
    hyper = methods.configured(config.method, config.overrides, weights_dir=config.weights_dir)
    if config.method != "amcf" or hyper.cuts != "none":
        raise InputError("only the cuts of method=amcf are searched, and overrides must not name cuts")
    task = config.task() if task is None else task
    if task.validation is None:
        raise InputError(f"task {task.name!r} has no validation images to search on; give it some")
    with torch.device("meta"):
        found = [len(convolutions(network.encoder)) for network in hyper.networks(0, task.problem)]
    tried: list[dict[str, object]] = []

    def fitness(place: np.ndarray) -> float:
        cuts = "-".join(str(int(x)) for x in place)
        short = replace(
            config, overrides=_with(config, cuts), steps=steps, out=str(Path(config.out) / "search")
        )
        score = scores(train(short, task=task), task.problem.score)
        tried.append({"evaluation": len(tried), "cuts": cuts, **score})
        return score["validation"]

    ends = [count - 1 for count in found]
    # The released 5 of 48 layers, of networks of any depth.
    swarm = Swarm(ends, particles, iterations, speed=[max(1.0, 5 / 48 * end) for end in ends])
    best, _ = swarm.search(fitness, np.random.default_rng(config.seed).random)
    cuts = "-".join(str(int(x)) for x in best)
    final = replace(config, overrides=_with(config, cuts))
    path = Path(config.out) / "search" / config.folder.relative_to(config.out) / "layers.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pd.DataFrame(tried).assign(convolutions="-".join(map(str, found))).to_csv(temporary, index=False)
    return train(final, task=task), path


def scores(folder: Path, score: str) -> dict[str, float]:
    """Mean score of a finished run on validation and test images."""
    table = pd.read_csv(folder / "images.csv")
    return {split: float(table[table["split"] == split][score].mean()) for split in ("validation", "test")}


def _with(config: TrainConfig, cuts: str) -> str:
    return f"{config.overrides} cuts={cuts}".strip()
