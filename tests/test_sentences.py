"""Links of our sentences are those of the run's graphs, each word's heaviest, and its direction is kept."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from mstl.data.readers.texts import encoded, words_of
from mstl.report.family import sentences
from mstl.report.family.relations import DIRECTIONS, mixed
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.train import train
from mstl.system.errors import InputError

SAID = [
    "the story is slow but good",
    "i did not like it",
    "a small quiet movie made me cry",
    "nothing in it is funny",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    lines = [f"{k % 2}\t{SAID[k % 4]} {k}\n" for k in range(24)]
    for part in ("train", "test"):
        (folder / f"books.task.{part}").write_text("".join(lines))
    (folder / "books.task.unlabel").write_text("".join(f"{SAID[k % 4]} again {k}\n" for k in range(24)))
    (folder / "mr.txt").write_text("".join(f"{k % 2} {SAID[k % 4]} at length {k}\n" for k in range(24)))
    config = TrainConfig(
        data="sentiment", recipe="to-mr", data_dir=str(folder), method="glomo", labels=4, profile="tiny",
        steps=4, precision="32-true", overrides="units=8 positions=2", out=str(folder / "runs"),
    )  # fmt: skip
    return train(config)


def test_links_are_the_heaviest_of_each_word(run):
    table, method = sentences.links(run, heaviest=1), load_method(run)
    assert set(table["direction"]) <= set(DIRECTIONS)
    earlier, later = (table[table["direction"] == name] for name in DIRECTIONS)
    assert (earlier["other"] < earlier["word"]).all() and (later["other"] > later["word"]).all()
    words = sentences.read_manifest(run)["vocabulary"]
    graphs = mixed(method, torch.from_numpy(encoded(sentences.SENTENCES, words))[:, :, None, None])
    for link in table.itertuples():
        row = graphs[list(DIRECTIONS).index(link.direction), link.sentence, link.word]
        assert link.weight == pytest.approx(row[: len(words_of(sentences.SENTENCES[link.sentence]))].max())


def test_every_link_is_an_arc(run):
    table = sentences.links(run)
    figure = sentences.arcs(table)
    assert sum(len(ax.patches) for ax in figure.axes) == len(table)
    plt.close(figure)


def test_another_run_is_refused(tmp_path):
    common = {"profile": "tiny", "steps": 2, "out": str(tmp_path)}
    config = TrainConfig(
        data="digits", recipe="serif-to-handwritten", method="glomo", labels=20, overrides="units=8", **common
    )
    with pytest.raises(InputError, match="on texts"):
        sentences.links(train(config))


def test_words_that_are_not_known_are_one_word():
    rows = encoded(["film noir film", ""], ("<none>", "<unknown>", "film"))
    assert rows[0, :4].tolist() == [2, 1, 2, 0] and rows[1, :2].tolist() == [1, 0] and rows.dtype == np.int16
