"""The page on relations, of texts: which words a graph links in three sentences of our own."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from mstl.data.readers.texts import encoded, words_of
from mstl.methods.glomo import GLoMo
from mstl.report.family.relations import DIRECTIONS, mixed
from mstl.run.inference import load_method, read_manifest
from mstl.system.errors import InputError

SENTENCES = (
    "the story is slow but the actors are wonderful and the end made me cry",
    "i did not like this film because nothing in it is funny",
    "a small quiet movie that says more than most of the loud ones do",
)


def links(run: str | Path, heaviest: int = 2) -> pd.DataFrame:
    """The heaviest links of every word of `SENTENCES` in a finished run of GLoMo on texts.

    Returns:
        Columns sentence (its number), direction (of `DIRECTIONS`), word and other (their places in the
        sentence; the word draws on the other) and weight.

    Raises:
        InputError: the run is no run of GLoMo on texts.
    """
    method, found = load_method(run), read_manifest(Path(run))
    if not isinstance(method, GLoMo) or not found.get("vocabulary"):
        raise InputError(f"{run}: expected a finished run of glomo on texts (--data sentiment)")
    rows = torch.from_numpy(encoded(SENTENCES, found["vocabulary"]))[:, :, None, None]
    table = []
    for direction, graphs in zip(DIRECTIONS, mixed(method, rows), strict=True):
        for k, (graph, sentence) in enumerate(zip(graphs, SENTENCES, strict=True)):
            count = len(words_of(sentence))
            for word in range(count):
                for other in np.argsort(graph[word, :count])[::-1][:heaviest]:
                    if graph[word, other] > 0:
                        table.append((k, direction, word, int(other), float(graph[word, other])))
    return pd.DataFrame(table, columns=["sentence", "direction", "word", "other", "weight"])


def arcs(table: pd.DataFrame) -> Figure:
    """`links` as arcs over and under each sentence, to the word that draws; the heavier, the wider."""
    longest = max(len(words_of(sentence)) for sentence in SENTENCES)
    figure, axes = plt.subplots(len(SENTENCES), 1, figsize=(8.2, 5.7), layout="constrained")
    for k, (ax, sentence) in enumerate(zip(axes, SENTENCES, strict=True)):
        words = words_of(sentence)
        for x, word in enumerate(words):
            ax.text(x, 0, word, ha="center", va="center", fontsize=9)
        own = table[table["sentence"] == k]
        for (direction, colour), side in zip(DIRECTIONS.items(), (1, -1), strict=True):
            for link in own[own["direction"] == direction].itertuples():
                flat = min(1, 5 / abs(link.other - link.word))
                bend = 0.45 * flat * side * (-1 if link.other < link.word else 1)
                ends = (link.other, 0.22 * side), (link.word, 0.22 * side)
                look = {"color": colour, "lw": 0.5 + 5 * link.weight, "alpha": 0.8, "arrowstyle": "-"}
                ax.add_patch(FancyArrowPatch(*ends, connectionstyle=f"arc3,rad={bend}", **look))
        ax.set(xlim=(-0.7, longest - 0.3), ylim=(-2.6, 2.6))
        ax.axis("off")
    lines = [plt.Line2D([], [], color=colour, lw=3) for colour in DIRECTIONS.values()]
    names = [name.replace("patches", "words") for name in DIRECTIONS]
    figure.legend(lines, names, loc="outside lower center", ncols=2, frameon=False)
    return figure
