"""Reviews and sentences as words of one vocabulary: reading, bridges, and who may read them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mstl.data.readers import texts
from mstl.data.recipes.domains import class_task
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


@pytest.fixture
def asking(place):
    """Questions beside the reviews, six kinds of them, half of them both learned from and tested on."""
    words = [*GOOD, *BAD]
    for part, start in (("train", 0), ("test", 30)):
        asked = [
            f"{k % 6} thing{k % 6} {words[k // 6 % 10]} thing{k // 6 % 9}" for k in range(start, start + 60)
        ]
        (place / f"trec_{part}.txt").write_text("\n".join(asked) + "\n")
    return place


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
    assert sum(map(len, parts)) > len(set().union(*seen))  # some there are
    assert not any(seen[a] & seen[b] for a in (2, 3) for b in range(a))


def test_what_is_tested_stands_in_no_source_no_bridge_and_no_training(place, capsys):
    copied = (place / "books.task.test").read_text()
    for name in ("books.task.train", "dvd.task.train"):
        (place / name).write_text((place / name).read_text() + copied)
    with (place / "dvd.task.unlabel").open("a") as file:
        file.write("\n".join(line[2:] for line in copied.splitlines()))
    made = local_task("sentiment", "dvd-to-books", labels=4, data_dir=place)
    tested = set(map(bytes, made.test.images.flatten(1).numpy()))
    for part in (*made.sources, made.labelled, made.unlabelled, made.bridges):
        assert not tested & set(map(bytes, part.images.flatten(1).numpy()))
    assert "texts stand in what they are tested on and are left out" in capsys.readouterr().err


def test_files_that_change_change_the_vocabulary(place):
    before = texts.read("books", place)[0].vocabulary
    with (place / "books.task.unlabel").open("a") as file:
        file.write("a wholly unheard word\n")
    after = texts.read("books", place)[0].vocabulary
    assert "unheard" not in before and "unheard" in after


def test_domains_of_other_words_are_no_task(place):
    one, other = (texts.read(name, place)[0] for name in ("books", "dvd"))
    other = replace(other, vocabulary=(*other.vocabulary[:-1], "else"))
    with pytest.raises(InputError, match="has other words than the target; all share one vocabulary"):
        class_task({"dvd": other}, one, labels=4)


def test_unlabelled_reviews_are_bridges_of_every_task(place):
    made = local_task("sentiment", "dvd-to-books", labels=4, data_dir=place)
    assert len(texts.unlabelled(place)) == 120 >= len(made.bridges) > 60 and [
        s.name for s in made.sources
    ] == ["dvd"]
    for file in place.glob("*.unlabel"):
        file.unlink()
    assert local_task("sentiment", "dvd-to-books", labels=4, data_dir=place).bridges is None


def test_questions_have_no_source_and_the_reviews_words(asking, tmp_path):
    made = local_task("questions", "to-trec", labels=6, data_dir=asking)
    assert made.sources == () and made.problem.classes == texts.ASKED
    assert made.test.vocabulary == texts.read("books", asking)[0].vocabulary
    assert 60 < len(made.bridges) <= 120 and sorted(made.labelled.labels.tolist()) == [0, 1, 2, 3, 4, 5]
    tested = set(map(bytes, made.test.images.flatten(1).numpy()))
    for part in (made.bridges, made.labelled, made.unlabelled):
        assert not tested & set(map(bytes, part.images.flatten(1).numpy()))
    values = {
        "data": "questions",
        "data_dir": str(asking),
        "recipe": "to-trec",
        "profile": "tiny",
        "labels": 6,
    }
    folder = train(
        TrainConfig(
            method="glomo", overrides="units=8 heads=2", steps=4, out=str(tmp_path / "runs"), **values
        )
    )
    with torch.no_grad():
        assert load_method(folder).predict(made.test.images.float()).shape == (60, 6, 1, 1)
    with pytest.raises(InputError, match="recipe 'to-trec' of data 'questions' has 0 sources; got 2"):
        local_task("questions", "to-trec", sources=2, labels=6, data_dir=asking)


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
    manifest = json.loads((folder / "manifest.json").read_text())
    assert tuple(manifest["vocabulary"]) == task.test.vocabulary
    with torch.no_grad():
        logits = load_method(folder).predict(task.test.images.float())
    assert (logits.flatten(1).argmax(1) == task.test.labels).float().mean() > 0.8


def test_who_cannot_read_words_says_so_before_there_is_a_folder(place, tmp_path):
    values = {"data": "sentiment", "data_dir": str(place), "recipe": "to-mr", "profile": "tiny", "labels": 4}
    with pytest.raises(InputError, match="method dann reads images and vectors, and these are words"):
        train(TrainConfig(method="dann", out=str(tmp_path / "runs"), **values))
    assert not (tmp_path / "runs").exists()


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
        (
            lambda place: (place / "MR.task.train").write_text(lines(3)),
            "MR.task.train and mr.txt are the same",
        ),
        (lambda place: [f.unlink() for f in place.glob("*.train")], r"holds no file \*.task.train"),
    ],
)
def test_bad_files_are_named(spoil, message, place):
    spoil(place)
    with pytest.raises(InputError, match=message):
        local_task("sentiment", "to-mr", labels=4, data_dir=place)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: write(p, "trec_test.txt", "6 why\n"), "line 1: expected a label 0, 1, 2, 3, 4 or 5"),
        (lambda p: (p / "trec_train.txt").unlink(), r"trec_train\.txt cannot be read"),
        (lambda p: (p / "trec_test.txt").unlink(), r"trec_test\.txt cannot be read"),
        (lambda p: [f.unlink() for f in p.glob("*.train")], r"holds no file \*\.task\.train"),
    ],
)
def test_bad_questions_are_named(spoil, message, asking):
    spoil(asking)
    with pytest.raises(InputError, match=message):
        local_task("questions", "to-trec", labels=6, data_dir=asking)


def test_bad_folders(place):
    with pytest.raises(InputError, match=r"'questions' needs data_dir: .* and trec_train\.txt"):
        local_task("questions", "to-trec", labels=6)
    with pytest.raises(InputError, match=r"'sentiment' needs data_dir: a folder with <domain>\.task\.train"):
        local_task("sentiment", "to-mr", labels=4)
    (place / "dvd.task.test").unlink()
    with pytest.raises(InputError, match=r"dvd\.task\.test cannot be read"):
        local_task("sentiment", "to-dvd", labels=4, data_dir=place)
