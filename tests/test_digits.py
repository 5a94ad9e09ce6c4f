"""Digits: handwritten, drawn, and torchvision's files."""

from __future__ import annotations

import bz2
import hashlib
import struct
from pathlib import Path

import numpy as np
import offline
import pytest
import scipy.io
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import SVHN

from mstl.data import local_task
from mstl.data.files import files_fingerprint
from mstl.data.readers import digits, typefaces
from mstl.data.recipes.domains import collected_task
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

DRAWN = tuple(typefaces.FACES)


@pytest.mark.parametrize("name", digits.EMBEDDED)
def test_digits_at_hand_are_white_on_black_in_three_equal_channels(name):
    domain, test = digits.read(name, None, Path())
    assert test is None and domain.images.shape[1:] == (3, 28, 28) and len(domain) >= 1000
    assert (domain.images == domain.images[:, :1]).all()
    assert (domain.images[..., 0, :] < 64).all(), "the frame is black"
    assert (domain.images.flatten(1).amax(1) > 100).all(), "and something is drawn"
    assert torch.bincount(domain.labels).min() >= 100


def test_handwritten_digits_keep_their_order_and_class():
    domain, known = digits.read("handwritten", None, Path())[0], load_digits()
    assert domain.labels.tolist() == known.target.tolist()
    inner = domain.images[:, 0, 4:24, 4:24].float()
    small = torch.nn.functional.interpolate(inner[:, None], (8, 8), mode="area")[:, 0]
    pairs = torch.stack((small.flatten(), torch.from_numpy(known.images).float().flatten()))
    assert torch.corrcoef(pairs)[0, 1] > 0.95


@pytest.mark.parametrize("name", DRAWN)
def test_a_set_is_a_group_and_holds_every_digit_once(name):
    domain = digits.read(name, None, Path())[0]
    for group in set(domain.groups.tolist()):
        assert sorted(domain.labels[domain.groups == group].tolist()) == list(range(10))
    assert len(set(domain.groups.tolist())) == typefaces.SETS


def test_no_two_drawn_digits_are_equal():
    drawn = torch.cat([digits.read(name, None, Path())[0].images[:, 0] for name in DRAWN])
    assert len({x.numpy().tobytes() for x in drawn}) == len(drawn)


def test_drawing_depends_on_nothing_but_names():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    assert np.array_equal(typefaces.sets("mono"), typefaces.sets("mono"))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_every_face_of_a_domain_is_its_own():
    """A character that a face lacks would be drawn as one and the same box."""
    for kind, faces in typefaces.FACES.items():
        shapes = {
            typefaces._drawn((kind, 0), digit, *face).tobytes() for face in faces for digit in range(10)
        }
        assert len(shapes) == 10 * len(faces), kind


@pytest.mark.parametrize(("data", "kept"), [("digits-low", "01234"), ("digits-high", "56789")])
def test_halves_have_no_class_in_common_and_keep_what_a_digit_is(data, kept):
    whole, half = (collected_task(name, "serif-to-handwritten", labels=20) for name in ("digits", data))
    assert half.problem.classes == tuple(kept)
    for one, all_of_them in ((half.sources[0], whole.sources[0]), (half.test, whole.test)):
        assert one.labels.max() < 5
        if one is half.test:
            continue
        rows = torch.isin(all_of_them.labels, torch.tensor([int(k) for k in kept]))
        assert torch.equal(one.images, all_of_them.images[rows])
        assert [kept[k] for k in one.labels] == [str(int(k)) for k in all_of_them.labels[rows]]
    assert len(half.labelled) == 20 and half.labelled.labels.bincount().tolist() == [4] * 5


def test_a_drawn_domain_can_be_learnt_from_another():
    """Labels belong to their images: a neighbour of another typeface mostly has the same digit."""
    sans, serif = (digits.read(name, None, Path())[0] for name in ("sans", "serif"))
    a, b = (d.images[:, 0].flatten(1).float() for d in (sans, serif))
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    assert (sans.labels[(b @ a.T).argmax(1)] == serif.labels).float().mean() > 0.8


def test_a_task_is_split_by_set_with_labels_spread_over_digits():
    def task(labels, seed=3):
        return local_task("digits", "to-serif", labels=labels, seed=seed)

    made = task(20)
    assert [source.name for source in made.sources] == ["handwritten", "sans", "mono"]
    assert made.problem.shape == (3, 28, 28) and made.problem.classes == digits.CLASSES
    assert torch.bincount(made.labelled.labels).tolist() == [2] * 10
    held = [set(d.groups.tolist()) for d in (made.validation, made.test)]
    training = set(made.labelled.groups.tolist()) | set(made.unlabelled.groups.tolist())
    assert not held[0] & held[1] and not (held[0] | held[1]) & training
    assert torch.bincount(made.test.labels).tolist() == [25] * 10
    assert made.fingerprint() == task(20).fingerprint() != task(20, seed=4).fingerprint()
    ten = task(10).labelled
    assert {x.numpy().tobytes() for x in ten.images} < {x.numpy().tobytes() for x in made.labelled.images}
    with pytest.raises(InputError, match="labels = 8 are fewer than the 10 classes"):
        task(8)


def write_mnist(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        head = struct.pack(">4i", 2051, *images.shape)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 2049, len(labels)) + labels.tobytes()
        )
        images, labels = images[:10], labels[:10]


def write_usps(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    for name in ("usps.bz2", "usps.t.bz2"):
        values = (images.reshape(len(images), -1) + 0.25) / 255 * 2 - 1
        lines = [
            f"{k + 1} " + " ".join(f"{i + 1}:{v:.6f}" for i, v in enumerate(row))
            for k, row in zip(labels, values, strict=True)
        ]
        (folder / name).write_bytes(bz2.compress("\n".join(lines).encode()))
        images, labels = images[:10], labels[:10]


def write_svhn(folder: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, list]:
    """The files, and what torchvision must then know of them: they are not the published ones."""
    known = {}
    for part in ("train", "test"):
        file = folder / f"{part}_32x32.mat"
        y = np.where(labels == 0, 10, labels)[:, None]
        scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": y})
        known[part] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
        images, labels = images[:10], labels[:10]
    return known


def some(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, *shape), np.uint8), (np.arange(40) % 10).astype(np.uint8)


def test_mnist_is_read_as_torchvision_lays_it_out(tmp_path):
    images, labels = some(28, 28)
    write_mnist(tmp_path, images, labels)
    train, test = digits.read("mnist", tmp_path, tmp_path / "cache")
    assert np.array_equal(train.images[:, 1].numpy(), images) and train.labels.tolist() == labels.tolist()
    assert len(test) == 10 and len(set(train.groups.tolist())) == 40


def test_usps_is_enlarged_and_keeps_flat_images_flat(tmp_path):
    images, labels = some(16, 16)
    images[:] = np.arange(40)[:, None, None] * 6
    write_usps(tmp_path, images, labels)
    train, test = digits.read("usps", tmp_path, tmp_path / "cache")
    assert train.images.shape == (40, 3, 28, 28) and len(test) == 10
    assert train.images.flatten(1).amin(1).tolist() == train.images.flatten(1).amax(1).tolist()
    assert train.images[:, 0, 0, 0].tolist() == [6 * i for i in range(40)]
    assert train.labels.tolist() == labels.tolist()


def test_framed_digits_are_those_of_usps_in_the_frame_of_mnist(tmp_path):
    images, labels = some(16, 16)
    images[:] = 100 + np.arange(40)[:, None, None]
    write_usps(tmp_path, images, labels)
    framed, usps = (digits.read(name, tmp_path, tmp_path) for name in ("framed1800", "usps"))
    for part, whole in zip(framed, usps, strict=True):
        box = part.images[..., 4:24, 4:24]
        assert torch.equal(part.labels, whole.labels) and list(part.groups) == list(whole.groups)
        assert torch.equal(box, whole.images[..., :20, :20])
        assert int(box.sum()) == int(part.images.sum())


def test_svhn_is_shrunk_in_colour_and_its_10_is_a_0(tmp_path, monkeypatch):
    images, labels = some(32, 32, 3)
    images[..., 0], images[..., 2] = 200, 7
    monkeypatch.setattr(SVHN, "split_list", write_svhn(tmp_path, images, labels))
    train, _ = digits.read("svhn", tmp_path, tmp_path / "cache")
    assert train.images.shape == (40, 3, 28, 28) and train.labels.tolist() == labels.tolist()
    assert (train.images[:, 0] == 200).all() and (train.images[:, 2] == 7).all()


def test_a_target_with_a_test_set_of_its_own_is_tested_there(tmp_path):
    write_mnist(tmp_path, *some(28, 28))
    write_usps(tmp_path, *some(16, 16))
    made = local_task("digits", "mnist-to-usps", labels=10, data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert [len(d) for d in made.domains()] == [40, 10, 25, 5, 10]
    _, test = digits.read("usps", tmp_path, tmp_path)
    assert torch.equal(made.test.images, test.images)
    from_hand = local_task("digits", "to-mnist", labels=0, data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert [source.name for source in from_hand.sources] == list(digits.EMBEDDED)


@pytest.mark.parametrize("name", digits.FETCHED)
def test_without_files_and_network_one_clear_error_says_which_files(name, tmp_path):
    with pytest.raises(InputError, match=f"cannot fetch digits '{name}'") as raised:
        digits.read(name, tmp_path, tmp_path / "cache")
    assert digits.FETCHED[name].files[0] in str(raised.value)
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
    assert offline.ATTEMPTS
    offline.ATTEMPTS.clear()


@pytest.mark.parametrize("damage", ["short", "shape", "label"])
def test_damaged_files_are_one_clear_error(damage, tmp_path):
    images, labels = some(28, 28)
    write_mnist(
        tmp_path,
        *{"short": (images, labels), "shape": (images[:, 1:], labels), "label": (images, labels + 1)}[damage],
    )
    if damage == "short":
        file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"digits 'mnist' (are damaged|must be of 28×28 with)"):
        digits.read("mnist", tmp_path, tmp_path / "cache")


def test_files_that_a_user_brings_count_in_the_fingerprint(tmp_path):
    images, labels = some(28, 28)
    write_mnist(tmp_path, images, labels)
    before = files_fingerprint("digits", str(tmp_path))
    write_mnist(tmp_path, images, labels[::-1].copy())
    assert files_fingerprint("digits", str(tmp_path)) != before != files_fingerprint("digits", None)


def test_the_command_line_knows_digits():
    config = TrainConfig(data="digits", recipe="to-mono", labels=10, profile="tiny")
    assert config.problem == "classification" and len(config.task().labelled) == 10
