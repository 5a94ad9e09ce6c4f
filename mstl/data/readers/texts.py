"""Texts with classes: reviews of goods, sentences of film reviews, and questions, as words of one vocabulary.

* ``<domain>.task.train`` and ``<domain>.task.test`` have a label, a tab and a review on each line;
* ``<domain>.task.unlabel`` has a review on each line: bridges of every task;
* ``mr.txt`` has a label, a space and a sentence on each line: domain ``mr``;
* ``trec_train.txt`` and ``trec_test.txt`` have a label, a space and a question on each line: domain ``trec``.

Of reviews and sentences labels are 0, negative, and 1, positive; of questions what they ask for, 0 to 5 in
the order of `ASKED`. The form is that of Liu, Qiu and Huang, "Adversarial multi-task learning for text
classification", ACL 2017, of Pang and Lee, ACL 2005, and of Li and Roth, COLING 2002.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from mstl.data.domain import Domain
from mstl.data.readers.features import SENTIMENTS
from mstl.data.readers.listing import existing_folder, plain_file
from mstl.system.errors import InputError

LENGTH = 64  # words of a text, from its beginning
SIZE = 5000  # words of the vocabulary, with the two below
NONE, UNKNOWN = "<none>", "<unknown>"
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\sa-z0-9]")
SENTENCES = "mr"
QUESTIONS = "trec"
ASKED = ("description", "entity", "abbreviation", "human", "location", "number")
EXPECTED = "<domain>.task.train and <domain>.task.test of one domain at least"


def names(place: Path | None) -> tuple[str, ...]:
    """Domains of which a folder has the files; `mr` stands last.

    Raises:
        InputError: no folder, or none of these files.
    """
    folder = _folder(place)
    goods, sentences = _goods(folder), (folder / "mr.txt").exists()
    if twice := [name for name in goods if sentences and name.lower() == SENTENCES]:
        raise InputError(
            f"{folder}: {twice[0]}.task.train and mr.txt are the same sentences; keep one of them"
        )
    return (*goods, *([SENTENCES] if sentences else []))


def read(name: str, place: Path | None) -> tuple[Domain, Domain | None]:
    """Training and test texts of a domain; `mr` brings no split of its own.

    Raises:
        InputError: a file is missing, is empty, or has a line without a label 0 or 1.
    """
    folder = _folder(place)
    if name == SENTENCES:
        return _domain(name, folder, _labelled(folder / "mr.txt", " ")), None
    train, test = (_labelled(folder / f"{name}.task.{part}", "\t") for part in ("train", "test"))
    return _domain(name, folder, train), _domain(name, folder, test, len(train[0]))


def question_names(place: Path | None) -> tuple[str, ...]:
    """Of questions there is one domain; `unlabelled` reviews beside it give the words.

    Raises:
        InputError: no folder, no file of questions, or no review.
    """
    folder = _folder(place, "questions")
    _goods(folder)
    plain_file(folder / "trec_train.txt")
    return (QUESTIONS,)


def questions(place: Path | None) -> tuple[Domain, Domain]:
    """Training and test questions, `ASKED` their classes.

    Raises:
        InputError: a file is missing, is empty, or has a line without a label 0 to 5.
    """
    folder = _folder(place, "questions")
    train, test = (_labelled(folder / f"trec_{part}.txt", " ", ASKED) for part in ("train", "test"))
    return _domain(QUESTIONS, folder, train, 0, ASKED), _domain(QUESTIONS, folder, test, len(train[0]), ASKED)


def unlabelled(place: Path | None, classes: tuple[str, ...] = SENTIMENTS) -> Domain | None:
    """The unlabelled reviews of all domains, with ``classes`` of which nobody reads one."""
    folder = _folder(place)
    files = [f for name in _goods(folder) if (f := folder / f"{name}.task.unlabel").exists()]
    texts = [line for file in files for line in _lines(file).values()]
    labels = np.zeros(len(texts), np.uint8)
    return _domain("reviews", folder, (texts, labels), classes=classes) if texts else None


def words_of(text: str) -> list[str]:
    """Words and marks of a text, in lower case."""
    return WORD.findall(text.lower())


def vocabulary(folder: Path) -> tuple[str, ...]:
    """The most frequent words of all training and unlabelled reviews, after `NONE` and `UNKNOWN`."""
    names = [f"{name}.task.{part}" for name in _goods(folder) for part in ("train", "unlabel")]
    files = [file for name in names if (file := folder.resolve() / name).exists()]
    stats = ((file, file.stat()) for file in files)
    return _vocabulary(tuple((file, stat.st_mtime_ns, stat.st_size) for file, stat in stats))


@cache
def _vocabulary(files: tuple[tuple[Path, int, int], ...]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for file, *_ in files:
        texts = _labelled(file, "\t")[0] if file.suffix == ".train" else _lines(file).values()
        counts.update(word for text in texts for word in words_of(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return NONE, UNKNOWN, *ranked[: SIZE - 2]


def encoded(texts: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """The first `LENGTH` words of each text as indices of ``known``, int16 (n, LENGTH), filled up with 0.

    A word that is not known is 1, and so is a text without words.
    """
    index = {word: k for k, word in enumerate(known)}
    rows = np.zeros((len(texts), LENGTH), np.int16)
    for row, text in zip(rows, texts, strict=True):
        found = [index.get(word, 1) for word in words_of(text)[:LENGTH]] or [1]
        row[: len(found)] = found
    return rows


def _domain(
    name: str,
    folder: Path,
    made: tuple[list[str], np.ndarray],
    first: int = 0,
    classes: tuple[str, ...] = SENTIMENTS,
) -> Domain:
    """A domain of texts; equal ones are one group, whatever split they are cut by."""
    texts, labels = made
    known = vocabulary(folder)
    rows = encoded(texts, known)
    groups: dict[bytes, str] = {}
    names = [groups.setdefault(row.tobytes(), f"{name}-{first + k:05d}") for k, row in enumerate(rows)]
    return Domain(
        name=name,
        images=torch.from_numpy(rows)[:, :, None, None],
        masks=None,
        groups=np.array(names),
        views=np.zeros(len(texts), dtype=np.int64),
        labels=torch.from_numpy(labels),
        classes=classes,
        vocabulary=known,
    )


def _labelled(
    file: Path, between: str, classes: tuple[str, ...] = SENTIMENTS
) -> tuple[list[str], np.ndarray]:
    texts, labels, known = [], [], [str(k) for k in range(len(classes))]
    for number, line in _lines(file).items():
        label, found, text = line.partition(between)
        if label not in known or not found:
            said = f"{', '.join(known[:-1])} or {known[-1]}"
            raise InputError(f"{file}, line {number}: expected a label {said} and a text; got {line[:40]!r}")
        texts.append(text)
        labels.append(int(label))
    return texts, np.array(labels, np.uint8)


def _lines(file: Path) -> dict[int, str]:
    """Lines with something on them, by number; UTF-8, or Latin-1 where that is not what it is."""
    content = plain_file(file).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = {k: line.rstrip("\r") for k, line in enumerate(text.split("\n"), start=1) if line.strip()}
    if not lines:
        raise InputError(f"{file} is empty; expected a text on each line")
    return lines


def _goods(folder: Path) -> Iterable[str]:
    found = sorted(file.name.removesuffix(".task.train") for file in folder.glob("*.task.train"))
    if not found:
        raise InputError(f"{folder} holds no file *.task.train; expected {EXPECTED}")
    return found


def _folder(place: Path | None, data: str = "sentiment") -> Path:
    expected = EXPECTED + (" and trec_train.txt and trec_test.txt" if data == "questions" else "")
    if place is None:
        raise InputError(f"data {data!r} needs data_dir: a folder with {expected}")
    return existing_folder(place, expected)
