"""Folders of classes by domain."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mstl.data import local_task
from mstl.data.catalogue import problem_of
from mstl.data.files import files_fingerprint
from mstl.data.readers import class_folders
from mstl.run.config import TrainConfig
from mstl.run.train import train
from mstl.system.errors import InputError

SIZE = (16, 24)
DOMAINS, CLASSES, EACH = ("amazon", "dslr", "web cam"), ("bike", "mug"), 8


def picture(*key: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(key).integers(0, 256, (20, 30, 3), np.uint8))


def make(path: Path, within: str = "") -> Path:
    """Three domains of two classes of eight images; written backwards, so that no order is that of making."""
    for d, domain in reversed(list(enumerate(DOMAINS))):
        for k, kind in reversed(list(enumerate(CLASSES))):
            folder = path / domain / within / kind
            folder.mkdir(parents=True)
            for i in range(EACH):
                picture(d, k, i).save(folder / f"frame_{i}.png")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make(tmp_path / "objects")


@pytest.fixture
def task(place: Path, tmp_path: Path):
    """Of ``place``, as it is when asked."""

    def of(recipe: str = "to-dslr", **options):
        asked = {"labels": 4, "size": SIZE, "data_dir": place, "cache_dir": tmp_path / "cache"}
        return local_task("classes", recipe, **(asked | options))

    return of


def test_domains_and_classes_are_in_alphabetical_order_whatever_the_file_system_says(
    place, task, monkeypatch
):
    made = task("to-web cam")
    assert [source.name for source in made.sources] == ["amazon", "dslr"]
    assert made.problem.classes == CLASSES and made.problem.shape == (3, *SIZE)
    assert [len(d) for d in made.sources] == [16, 16] and made.sources[0].labels.tolist() == [0] * 8 + [1] * 8
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(listed(path))))
    assert task("to-web cam").fingerprint() == made.fingerprint()


def test_pixels_and_labels_are_those_of_the_files(place, task):
    source = task("amazon-to-dslr").sources[0]
    row = source.groups.tolist().index("amazon/mug/frame_3")
    image = Image.open(place / "amazon/mug/frame_3.png").resize(SIZE[::-1], Image.Resampling.BOX)
    assert np.array_equal(source.images[row].permute(1, 2, 0).numpy(), np.asarray(image))
    assert source.classes[source.labels[row]] == "mug" and source.masks is None


def test_the_layout_of_office_31_is_the_same_data(tmp_path, task):
    other = make(tmp_path / "office31", within="images")
    assert task(data_dir=other).fingerprint() == task().fingerprint()


def without_class(domain: Path, number: int = 3, called: str = "unlabelled") -> None:
    folder = domain / called
    folder.mkdir()
    for i in range(number):
        picture(9, i).save(folder / f"new_{i}.png")


@pytest.mark.parametrize("called", ["unlabelled", "Unlabeled"])
@pytest.mark.parametrize("within", ["", "images"])
def test_images_whose_class_nobody_knows_train_unlabelled(tmp_path, task, called, within, capsys):
    place = make(tmp_path / "office", within)
    before = task(data_dir=place)
    for domain in ("dslr", "amazon"):
        without_class(place / domain, called=called)
    made = task(data_dir=place)
    assert made.problem.classes == CLASSES and len(made.unlabelled) == len(before.unlabelled) + 3
    new = np.char.startswith(made.unlabelled.groups.astype(str), f"dslr/{called}/")
    assert (made.unlabelled.has_label == ~new).all() and new.sum() == 3
    for part in ("labelled", "validation", "test"):
        assert getattr(made, part).fingerprint() == getattr(before, part).fingerprint(), part
    assert [x.fingerprint() for x in made.sources] == [x.fingerprint() for x in before.sources]
    assert "amazon: 3 of 19 images have no class and are left out" in capsys.readouterr().err


def test_a_copy_without_a_class_is_not_trained_on_where_it_is_tested(place, task):
    tested = task().test.groups[0]  # dslr/<class>/<stem>
    without_class(place / "dslr")
    shutil.copy(place / f"{tested}.png", place / "dslr/unlabelled/copy.png")
    made = task()
    assert tested not in made.unlabelled.groups and len(made.unlabelled) == len(task().unlabelled)
    assert sum(name.startswith("dslr/unlabelled") for name in made.unlabelled.groups) == 3


def test_what_nobody_knows_is_no_bridge_and_in_no_partial_target(place, task, tmp_path):
    for domain in DOMAINS:
        for kind in ("lamp", "pen", "cap"):
            (place / domain / kind).mkdir()
            for i in range(4):
                picture(DOMAINS.index(domain), len(kind), ord(kind[0]), i).save(
                    place / domain / kind / f"{i}.png"
                )
    pair = "distant.amazon.bike.mug-to-dslr.lamp.pen"
    before = task(pair, labels=2)
    without_class(place / "dslr")
    after = task(pair, labels=2)
    assert after.fingerprint() == before.fingerprint() and len(after.bridges) == len(before.bridges)
    with pytest.raises(InputError, match="nobody knows the class of 3 images of the target"):
        task("partial-to-dslr")


def test_an_empty_folder_of_images_without_a_class_is_an_error(place, task):
    (place / "dslr/unlabelled").mkdir()
    with pytest.raises(InputError, match="unlabelled"):
        task()


def test_the_oracle_and_a_method_train_with_images_of_no_class(place, tmp_path):
    without_class(place / "dslr")
    known = {"data": "classes", "data_dir": str(place), "recipe": "to-dslr", "labels": 4, "profile": "tiny"}
    for method in ("dann", "oracle"):
        folder = train(TrainConfig(**known, method=method, out=str(tmp_path / "runs"), steps=4))
        scores = pd.read_csv(folder / "images.csv")
        assert len(scores) and not scores["car"].str.contains("unlabelled").any()


def test_a_class_may_be_called_images(place, task):
    for domain in DOMAINS:
        (place / domain / "mug").rename(place / domain / "images")
    assert task().problem.classes == ("bike", "images")


def test_the_target_is_cut_without_overlap_and_labels_are_spread_over_classes(task):
    made = task()
    parts = (made.labelled, made.unlabelled, made.validation, made.test)
    groups = [set(part.groups.tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 16
    assert [len(part) for part in parts] == [4, 6, 2, 4]
    assert torch.bincount(made.labelled.labels).tolist() == [2, 2]
    more = task(labels=8).labelled.groups.tolist()
    assert set(made.labelled.groups.tolist()) < set(more)


def test_the_split_depends_on_the_seed_alone_on_every_machine(task):
    assert task(seed=1).fingerprint() == task(seed=1).fingerprint() != task(seed=2).fingerprint()
    assert task(seed=1).labelled.groups.tolist() == [
        "dslr/bike/frame_2",
        "dslr/mug/frame_1",
        "dslr/bike/frame_4",
        "dslr/mug/frame_7",
    ]


def test_copies_of_one_picture_are_one_group(place, task):
    for i in range(1, 5):
        shutil.copy(place / "dslr/bike/frame_0.png", place / f"dslr/bike/frame_{i}.png")
    for seed in range(4):
        made = task(seed=seed, labels=0)
        holding = [
            part
            for part in (made.unlabelled, made.validation, made.test)
            if "dslr/bike/frame_0" in part.groups
        ]
        assert len(holding) == 1 and (holding[0].groups == "dslr/bike/frame_0").sum() == 5


def test_a_second_reading_decodes_nothing_and_moves_with_the_folder(place, task, tmp_path, monkeypatch):
    first = task().fingerprint()
    moved = place.rename(tmp_path / "elsewhere")
    monkeypatch.setattr("mstl.data.store.decode", None)
    assert task(data_dir=moved).fingerprint() == first


def test_a_renamed_class_changes_every_fingerprint(place, task):
    before = task().fingerprint(), files_fingerprint("classes", str(place))
    for domain in DOMAINS:
        (place / domain / "mug").rename(place / domain / "cup")
    assert task().fingerprint() != before[0] and files_fingerprint("classes", str(place)) != before[1]


def test_an_image_that_moves_to_another_class_changes_every_fingerprint(place, task):
    before = task().fingerprint(), files_fingerprint("classes", str(place))
    (place / "amazon/mug/frame_7.png").rename(place / "amazon/bike/frame_8.png")
    assert task().fingerprint() != before[0] and files_fingerprint("classes", str(place)) != before[1]


def test_what_is_no_image_is_left_out_and_named_once(place, task, capsys):
    (place / "amazon/mug/notes.txt").write_text("good")
    (place / "amazon/Thumbs.db").write_text("")
    (place / "list.csv").write_text("")
    made = task()
    assert len(made.sources[0]) == 16
    said = capsys.readouterr().err
    assert said.count("notes.txt") == said.count("list.csv") == 1 and "Thumbs" not in said


def remove_class(place):
    shutil.rmtree(place / "dslr/mug")
    (place / "dslr/chair").mkdir()


def empty_class(place):
    shutil.rmtree(place / "web cam/mug")
    (place / "web cam/mug").mkdir()
    (place / "web cam/mug/readme.txt").write_text("")


def one_class(place):
    for domain in DOMAINS:
        shutil.rmtree(place / domain / "mug")


def too_many(place):
    for k in range(255):
        (place / "amazon" / f"class {k}").mkdir()


def no_classes(place):
    (place / "splits").mkdir()
    (place / "splits/train.txt").write_text("")


def one_domain(place):
    for domain in DOMAINS[1:]:
        shutil.rmtree(place / domain)


def alike_domains(place):
    shutil.copytree(place / "dslr", place / unicodedata.normalize("NFC", "café"))
    shutil.copytree(place / "dslr", place / unicodedata.normalize("NFD", "café"))


def alike_classes(place):
    shutil.copytree(place / "dslr/mug", place / "dslr/MUG")


def taken(name):
    return lambda place: (place / "amazon").rename(place / name)


BAD = {
    "classes differ": (
        remove_class,
        r"dslr: other classes than in 'amazon'; it lacks mug; 'amazon' lacks chair",
    ),
    "an empty class": (empty_class, r"web cam/mug holds no images"),
    "one class": (one_class, r"amazon holds 1 classes \(bike\); expected 2 to 256"),
    "too many classes": (too_many, r"amazon holds 257 classes"),
    "a folder without classes": (no_classes, r"splits holds 0 classes"),
    "one domain": (one_domain, r"holds 1 domains \(amazon\)"),
    "domains alike": (alike_domains, r"names alike"),
    "classes alike": (alike_classes, r"'MUG' and 'mug'|'mug' and 'MUG'"),
    "a recipe's sign": (taken("amazon+2"), r"amazon\+2: a domain's name is part of the recipe's"),
    "a recipe's number": (taken("amazon-2"), r"amazon-2: a domain's name"),
    "a recipe's word": (taken("from-to-there"), r"a domain's name"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_one_clear_error_before_any_image_is_decoded(place, task, case, monkeypatch):
    spoil, message = BAD[case]
    spoil(place)
    monkeypatch.setattr("mstl.data.store.domain", None)
    with pytest.raises(InputError, match=message):
        task()


def test_a_picture_of_the_target_in_a_source_is_refused(place, task):
    shutil.copy(place / "dslr/bike/frame_0.png", place / "amazon/mug/photo.png")
    with pytest.raises(InputError, match="source 'amazon' and the target share an image"):
        task()
    assert [source.name for source in task(without="amazon").sources] == ["web cam"]


def test_a_copy_of_less_quality_is_named_and_nothing_else_is(place, task, capsys):
    blocks = np.random.default_rng(0).integers(40, 216, (16, 24, 3), np.uint8)
    photo = Image.fromarray(blocks.repeat(4, 0).repeat(4, 1))
    photo.save(place / "dslr/bike/frame_0.png")
    task(size=(64, 96))
    assert "look alike" not in capsys.readouterr().err
    photo.save(place / "amazon/mug/photo.jpg", quality=80)
    task(size=(64, 96))
    said = capsys.readouterr().err
    assert "amazon/mug/photo" in said and "dslr/bike/frame_0" in said and "look alike" in said


def test_a_damaged_image_is_named(place, task):
    (place / "amazon/mug/frame_2.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"mug/frame_2\.png"):
        task()


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"data_dir": None}, "needs data_dir"),
        ({"recipe": "to-webcam"}, "no domain 'webcam'; there are amazon, dslr, web cam"),
        ({"recipe": "caltech-to-dslr"}, "no domain 'caltech'"),
        ({"recipe": "dslr-to-dslr"}, "its own source"),
        ({"recipe": "parts"}, "does not exist for data 'classes'"),
        ({"labels": 1}, "labels = 1 are fewer than the 2 classes"),
        ({"labels": 11}, "10 training images"),
        ({"without": "roof"}, "there are amazon, web cam"),
        ({"size": (15, 24)}, "multiples of 8"),
    ],
)
def test_bad_parameters_are_one_clear_error(task, asked, message):
    with pytest.raises(InputError, match=message):
        task(**asked)


def test_what_is_predicted_are_classes():
    assert problem_of("classes") == "classification"


def test_more_classes_than_the_largest_byte_fit(tmp_path):
    """256 are the most: the last one's label is 255."""
    for domain in "ab":
        for k in range(256):
            folder = tmp_path / domain / f"{k:03d}"
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8), (k, ord(domain), 0)).save(folder / "0.png")
    assert class_folders.names(tmp_path) == ("a", "b")
    made = class_folders.read("a", tmp_path, tmp_path / "cache", (8, 8))
    assert made.labels.tolist() == list(range(256))
    assert made.images[:, 0, 0, 0].tolist() == list(range(256))
