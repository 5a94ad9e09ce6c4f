"""Reviews and sentences as words of one vocabulary: reading, bridges, and who may read them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mstl.data.readers import texts
from mstl.data.recipes.local import local_task
from mstl.methods import METHODS, build
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.train import train
from mstl.system.errors import InputError

GOOD, BAD = ["good", "fine", "great", "lovely", "pleasant"], ["bad", "poor", "awful", "dull", "broken"]


def lines(seed, n=40, label=True, between="\t"):
    """Reviews of two to nine words, of which one says what the reviewer thinks."""
    random, made = np.random.default_rng(seed), []
    for k in range(n):
        words = ["it", "was", "a", f"thing{random.integers(9)}"][: random.integers(1, 5)]
        words.insert(random.integers(len(words) + 1), random.choice((BAD, GOOD)[k % 2]))
        made.append((f"{k % 2}{between}" if label else "") + " ".join(words))
    return "\n".join(made) + "\n"


def save_reviews(tmp_path):
    """Two domains of reviews with unlabelled ones beside them, and sentences, one of them in Latin-1."""
    tmp_path.mkdir(exist_ok=True)
    for seed, name in enumerate(("books", "dvd")):
        (tmp_path / f"{name}.task.train").write_text(lines(seed))
        (tmp_path / f"{name}.task.test").write_text(lines(seed + 10))
        (tmp_path / f"{name}.task.unlabel").write_text(lines(seed + 20, 60, label=False))
    (tmp_path / "mr.txt").write_bytes(
        lines(9, between=" ").encode() + "1 a na\xefve\x85 charm\n".encode("latin-1")
    )
    return tmp_path


@pytest.fixture
def place(tmp_path):
    return save_reviews(tmp_path)


def test_texts_are_words_of_one_vocabulary(place):
    assert texts.names(place) == ("books", "dvd", "mr")
    train, test = texts.read("books", place)
    assert train.images.shape == (40, texts.LENGTH, 1, 1) and len(test) == 40
    known = train.vocabulary
    assert known[:2] == ("<none>", "<unknown>") and known == texts.read("dvd", place)[0].vocabulary
    first = (place / "books.task.train").read_text().split("\n")[0].partition("\t")[2].split()
    assert [known[k] for k in train.images[0].flatten()[: len(first) + 1]] == [*first, "<none>"]
    counts = " ".join(
        (place / f"{n}.task.{p}").read_text() for n in ("books", "dvd") for p in ("train", "unlabel")
    )
    ranked = [counts.split().count(word) for word in known[2:]]
    assert ranked == sorted(ranked, reverse=True)


def test_words_outside_it_are_unknown_and_a_line_ends_at_a_line_feed_alone(place):
    sentences, test = texts.read("mr", place)
    assert test is None and len(sentences) == 41 and sentences.labels[-1] == 1
    words = [sentences.vocabulary[k] for k in sentences.images[-1].flatten()]
    assert words[0] == "a" and words[1] == "<unknown>" and words[-1] == "<none>"
    assert texts.words_of("Don't stop, it's 3D!") == ["don't", "stop", ",", "it's", "3d", "!"]


def test_equal_texts_are_never_cut_by_a_split(place):
    made = local_task("sentiment", "to-mr", labels=4, data_dir=place)
    parts = (made.labelled, made.unlabelled, made.validation, made.test)
    seen = [set(map(bytes, part.images.flatten(1).numpy())) for part in parts]
    cut = [(a, b) for a in range(4) for b in range(a) if b > 0]  # labelled and unlabelled are both training
    assert not any(seen[a] & seen[b] for a, b in cut)


def test_unlabelled_reviews_are_bridges_of_every_task(place):
    made = local_task("sentiment", "dvd-to-books", labels=4, data_dir=place)
    assert len(made.bridges) == 120 and [s.name for s in made.sources] == ["dvd"]
    for file in place.glob("*.unlabel"):
        file.unlink()
    texts.vocabulary.cache_clear()
    assert local_task("sentiment", "dvd-to-books", labels=4, data_dir=place).bridges is None


@pytest.mark.parametrize("name", [n for n, e in METHODS.items() if "classification" in e.problems])
def test_only_who_reads_words_is_fed_them(name, place):
    problem = local_task("sentiment", "to-mr", labels=4, data_dir=place).problem
    assert (problem.reads, problem.shape) == ("words", (texts.LENGTH, 1, 1))
    if "words" in METHODS[name].reads:
        assert build(name, 1, True, "units=8 heads=2", problem)
    else:
        with pytest.raises(InputError, match=rf"{name} reads images.*, and these are words"):
            build(name, 1, True, "", problem)


def test_glomo_learns_what_reviewers_think_and_its_run_is_read_again(place, tmp_path):
    config = TrainConfig(
        data="sentiment",
        data_dir=str(place),
        recipe="to-mr",
        method="glomo",
        labels=20,
        profile="digits",
        steps=60,
        learning_rate=1e-2,
        precision="32-true",
        device="cpu",
        out=str(tmp_path / "runs"),
        overrides="units=16 heads=2",
    )
    task = config.task()
    folder = train(config)
    with torch.no_grad():
        logits = load_method(folder).predict(task.test.images.float())
    assert (logits.flatten(1).argmax(1) == task.test.labels).float().mean() > 0.8


def write(place, name, content):
    (place / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda place: write(place, "mr.txt", "0 dull\n2 who knows\n"),
            "mr.txt, line 2: expected a label 0 or 1",
        ),
        (lambda place: write(place, "mr.txt", "\n"), "mr.txt is empty"),
        (lambda place: write(place, "mr.txt", "1\n"), "line 1: expected a label 0 or 1 and a text"),
        (lambda place: (place / "mr.txt").unlink(), "has no domain 'mr'; there are books, dvd"),
        (lambda place: [f.unlink() for f in place.glob("*.train")], r"holds no file \*.task.train"),
    ],
)
def test_bad_files_are_named(spoil, message, place):
    spoil(place)
    with pytest.raises(InputError, match=message):
        local_task("sentiment", "to-mr", labels=4, data_dir=place)


def test_bad_folders(place):
    with pytest.raises(InputError, match=r"'sentiment' needs data_dir: a folder with <domain>\.task\.train"):
        local_task("sentiment", "to-mr", labels=4)
    (place / "dvd.task.test").unlink()
    with pytest.raises(InputError, match=r"dvd\.task\.test cannot be read"):
        local_task("sentiment", "to-dvd", labels=4, data_dir=place)
