"""Three test cars under five methods, from no label to thirty-two: what the scores of the tables look like.

``python -m mstl.report.grid`` takes the masks from the runs of ``make sweep SWEEP=strip``; a page draws them
over the cars of the task, which are rendered anew. Only rendered cars are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mstl.data.augment import to_float
from mstl.data.domain import Domain
from mstl.methods.catalogue import described
from mstl.report import plots, results
from mstl.report.grid.answer import ALL, ALONE
from mstl.report.grid.comparison import COMBINE, LITERAL, OURS
from mstl.report.results import method_label
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.snapshots import load_arrays
from mstl.system.errors import InputError
from mstl.system.files import replacing

FOLDER = "results/strip"
DATA, SEED, PROFILE = "studio", 10, "grid"
LABELS = (0, 4, 8, 32)
METHODS = (ALONE, COMBINE, LITERAL, OURS, ALL)
FOUND, MISSED, WRONG = "#E69F00", "#0072B2", "#D55E00"
MEANING = {"found": FOUND, "missed": MISSED, "no car": WRONG}


def config(recipe: str, method: str, labels: int, out: str = "runs-grid") -> TrainConfig:
    """The run whose mask stands at a place of the strip; the oracle's is the same for every ``labels``."""
    return TrainConfig(
        data=DATA, recipe=recipe, method=method, seed=SEED, profile=PROFILE, out=out,
        labels=LABELS[-1] if method == ALL else labels,
    )  # fmt: skip


def places(recipe: str) -> Iterator[tuple[str, int]]:
    """Method and number of labels of every mask; without labels nothing is learned from the target alone."""
    for method in METHODS:
        for labels in LABELS[-1:] if method == ALL else LABELS:
            if labels or not described(method).needs_labels:
                yield method, labels


def collect(recipe: str, runs: str) -> dict[str, np.ndarray]:
    """Masks of three test cars by ``"<method> <labels>"``, bits along the last axis, and which cars they are.

    The cars are those with the lowest, the median and the highest Dice, averaged over all masks of the strip.

    Raises:
        InputError: a run is missing or unfinished.
    """
    task = config(recipe, OURS, LABELS[-1]).task()
    inputs, found, scores = to_float(task.test.images), {}, []
    for method, labels in places(recipe):
        folder = config(recipe, method, labels, runs).folder
        if not (folder / "manifest.json").exists():
            raise InputError(f"{folder} is not there; train it with `make sweep SWEEP=strip`")
        with torch.no_grad():
            logits = load_method(folder).predict(inputs)
        found[f"{method} {labels}"] = logits > 0
        scores.append(task.problem.table(logits, task.test)["dice"])
    order = np.argsort(np.mean(scores, axis=0))
    cars = order[[0, len(order) // 2, -1]]
    return {"cars": cars} | {name: np.packbits(mask[cars].numpy(), axis=-1) for name, mask in found.items()}


def write(runs: str, out: str | Path = FOLDER, recipes: tuple[str, ...] = ("masks", "parts")) -> list[Path]:
    """`collect` of each recipe, as ``OUT/studio/<recipe>.npz``.

    Raises:
        InputError: as `collect`.
    """
    written = []
    for recipe, arrays in [(recipe, collect(recipe, runs)) for recipe in recipes]:
        path = place(recipe, out)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        written.append(path)
    return written


def place(recipe: str, folder: str | Path = FOLDER) -> Path:
    """The file of one reading's masks."""
    return Path(folder) / DATA / f"{recipe}.npz"


def frames(recipe: str, folder: str | Path = FOLDER) -> list[Figure]:
    """A picture for each of `LABELS`: a row a car, a column a method, and above it the Dice of all test cars.

    Raises:
        InputError: the masks are not there, or not of the cars that are rendered here.
    """
    path = place(recipe, folder)
    if not path.exists():
        raise InputError(f"{path} is not there; write it with `python -m mstl.report.grid`")
    masks, task = load_arrays(path), config(recipe, OURS, LABELS[-1]).task()
    cars = task.test.select(masks.pop("cars"))
    table = results.load(folder, DATA, "runs")
    means = table[(table["recipe"] == recipe) & (table["seed"] == SEED)].set_index(["method", "labels"])[
        "dice"
    ]
    return [_frame(cars, masks, means.to_dict(), labels) for labels in LABELS]


def _frame(cars: Domain, masks: dict[str, np.ndarray], means: dict, labels: int) -> Figure:
    figure, axes = plt.subplots(len(cars), len(METHODS) + 1, figsize=(9.6, 1.16 * len(cars) + 0.75))
    for ax in axes.flat:
        ax.axis("off")
    for row, image in zip(axes, cars.images, strict=True):
        row[0].imshow(plots.to_picture(image))
    axes[0, 0].set_title("test car", fontsize=10)
    for column, method in enumerate(METHODS, start=1):
        key = method, LABELS[-1] if method == ALL else labels
        bits = masks.get("{} {}".format(*key))
        score = f"Dice {100 * means[key]:.1f}" if bits is not None else "needs labels"
        axes[0, column].set_title(f"{method_label(method)}\n{score}", fontsize=10)
        if bits is not None:
            width = cars.masks.shape[-1]
            for ax, image, true, mask in zip(axes[:, column], cars.images, cars.masks, bits, strict=True):
                ax.imshow(judged(image, true, np.unpackbits(mask, axis=-1, count=width)))
    plots.legend(list(MEANING), list(MEANING.values()), figure)
    return figure


def judged(image: torch.Tensor, true: torch.Tensor, mask: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """An image with what a mask found, missed and took for a car: float (h, w, 3) in [0, 1].

    Args:
        image: uint8 (3, h, w).
        true: (1, h, w), 1 is the object.
        mask: (1, h, w), what was predicted.
        strength: of the colours.
    """
    wanted, said = true[0].numpy() > 0, mask[0] > 0
    picture = plots.to_picture(image) / 255
    for where, colour in ((wanted & said, FOUND), (wanted & ~said, MISSED), (said & ~wanted, WRONG)):
        picture[where] = (1 - strength) * picture[where] + strength * np.array(to_rgb(colour))
    return picture
