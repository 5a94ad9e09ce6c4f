"""Images of the target without a mask: they train unlabelled, and nobody can read a mask of theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import OF_MASKS, blobs, textures, toy_task
from test_own_data import SIZE, save_domain

from mstl.data import Domain, Task, class_task, local_task, task_of
from mstl.data.batches import Batches
from mstl.data.recipes.leaks import check_groups
from mstl.data.tiles import cut_folder
from mstl.report import results
from mstl.run.config import TrainConfig
from mstl.run.inference import predict_folder
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError


def hidden(domain: Domain, rows: list[int] | slice) -> Domain:
    """The same images; those of ``rows`` without a mask."""
    known = torch.ones(len(domain), dtype=torch.uint8)
    known[rows] = 0
    gone = {name: getattr(domain, name) * known[:, None, None, None] for name in ("masks", "parts")}
    return replace(domain, known=known, **gone)


def trained(method: str, task: Task, steps: int = 2) -> dict[str, torch.Tensor]:
    """All numbers of a network after some steps with a mean teacher."""
    config = TrainConfig(
        method=method, profile="tiny", labels=4, device="cpu", precision="32-true", mean_teacher=0.5
    )
    trainer = Trainer(config, task)
    for _ in range(steps):
        trainer.update()
    return trainer.method.state_dict()


@pytest.mark.parametrize("method", [name for name in OF_MASKS if name != "oracle"])
def test_no_method_reads_a_mask_of_an_unlabelled_image(method):
    """With and without those masks it trains to the same weights, bit for bit."""
    task = toy_task(sources=2)
    without = replace(task, unlabelled=hidden(task.unlabelled, slice(None)))
    assert without.fingerprint() != task.fingerprint()
    one, other = trained(method, task), trained(method, without)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_oracle_learns_from_the_images_that_have_masks_and_from_no_other():
    task = toy_task(sources=2)
    some = replace(task, unlabelled=hidden(task.unlabelled, [0, 3, 4]))
    kept = replace(task, unlabelled=task.unlabelled.select([1, 2, *range(5, 12)]))
    one, other = trained("oracle", some), trained("oracle", kept)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    none = replace(task, unlabelled=hidden(task.unlabelled, slice(None)))
    assert len(none.with_all_labels().labelled) == len(task.labelled)
    assert none.with_all_labels().unlabelled is None
    with pytest.raises(InputError, match="no training image of the target has a label"):
        replace(none, labelled=None).with_all_labels()


def test_a_domain_whose_images_all_have_masks_is_the_one_it_was():
    domain = blobs("a", 6, SIZE, 0)
    stated = replace(domain, known=torch.ones(6, dtype=torch.uint8))
    assert stated.known is None and stated.fingerprint() == domain.fingerprint()
    part = hidden(domain, [1, 4])
    assert part.has_label.tolist() == [True, False, True, True, False, True]
    assert part.select([0, 2]).known is None and part.select([1, 0]).known.tolist() == [0, 1]
    assert len(part.labelled()) == 4 and hidden(domain, slice(None)).labelled() is None
    assert part.join(domain, "both").known.tolist() == [1, 0, 1, 1, 0, 1] + [1] * 6


@pytest.mark.parametrize("part", ["labelled", "validation", "test", "sources"])
def test_only_unlabelled_images_may_lack_a_mask(part):
    task = toy_task(sources=1)
    domain = hidden(blobs("x", 6, SIZE, 0), [2])
    with pytest.raises(InputError, match="lack their labels; only unlabelled images of the target may"):
        replace(task, **{part: (domain,) if part == "sources" else domain})


def test_bad_domains_are_one_clear_error():
    domain = blobs("a", 6, SIZE, 0)
    with pytest.raises(InputError, match="masks of images that are not known must be 0"):
        replace(domain, known=torch.zeros(6, dtype=torch.uint8))
    with pytest.raises(InputError, match="known must hold 0 and 1 only"):
        replace(domain, known=torch.full((6,), 2, dtype=torch.uint8))
    with pytest.raises(InputError, match="known must be uint8 of shape"):
        replace(domain, known=torch.ones(5, dtype=torch.uint8))


def test_classes_that_nobody_knows_are_unlabelled_images_too():
    names, known = ("a", "b", "c"), torch.tensor([1] * 20 + [0] * 10, dtype=torch.uint8)
    whole = textures("target", 30, (3, 8, 8), names, 1)
    groups = whole.groups.copy()
    groups[25:] = groups[:5]
    part = replace(whole, labels=whole.labels * known, known=known, groups=groups)
    sources = {"s": textures("s", 9, (3, 8, 8), names, 2)}
    task = class_task(sources, part, labels=6)
    alone = class_task(sources, part.select(range(20)), labels=6)
    for name in ("labelled", "validation", "test"):
        assert getattr(task, name).fingerprint() == getattr(alone, name).fingerprint()
    assert task.unlabelled.labelled().fingerprint() == alone.unlabelled.fingerprint()
    bare = set(task.unlabelled.groups[~task.unlabelled.has_label].tolist())
    tested = {*task.test.groups.tolist(), *task.validation.groups.tolist()}
    assert {f"target-{k}" for k in range(20, 25)} <= bare and not tested & bare
    assert len(task.with_all_labels().labelled) == 6 + len(alone.unlabelled)


NAMES = [f"{letter}_{k}" for letter in "abcdefgh" for k in (1, 2)]


@pytest.fixture()
def own(tmp_path: Path) -> Path:
    """A source, and a target of 16 images with masks, of 8 groups, and 12 without, one of them of group a."""
    save_domain(tmp_path / "own/sources/fronts", [f"x{k}" for k in range(3)], (70, 50), seed=1)
    save_domain(tmp_path / "own/target", [*NAMES, "a_3", *(f"z{k}" for k in range(11))])
    for file in [*(tmp_path / "own/target/masks").glob("z*"), tmp_path / "own/target/masks/a_3.png"]:
        file.unlink()
    return tmp_path / "own"


def task_from(own: Path, recipe: str = "own", labels: int = 2, **options) -> Task:
    options = {"size": SIZE, "data_dir": own, "cache_dir": own.parent / "cache"} | options
    return local_task("folder", recipe, labels=labels, **options)


@pytest.mark.parametrize("recipe", ["own", "own-masks", "own-alone"])
def test_images_without_a_mask_change_nothing_about_the_split_of_the_others(own, recipe, capsys):
    task = task_from(own, recipe)
    said = capsys.readouterr().err
    assert f"{own}/target: 16 of 28 images have a mask; the other 12 train without one (a_3, z0," in said
    for name in ("a_3", *(f"z{k}" for k in range(11))):
        (own / "target/images" / f"{name}.png").unlink()
    alone = task_from(own, recipe)
    for part in ("labelled", "validation", "test"):
        assert getattr(task, part).fingerprint() == getattr(alone, part).fingerprint()
    added = set(task.unlabelled.groups.tolist()) - set(alone.unlabelled.groups.tolist())
    tested = {*task.test.groups.tolist(), *task.validation.groups.tolist()}
    assert {f"z{k}" for k in range(11)} <= added and not tested & set(task.unlabelled.groups.tolist())
    left = "1 images without a label are left out, as their groups are tested: a" in said
    assert left == ("a" in tested)
    shown = {g: k for g, k in zip(task.unlabelled.groups, task.unlabelled.has_label, strict=True)}
    assert not any(shown[f"z{k}"] for k in range(11))
    assert task.unlabelled.labelled().fingerprint() == alone.unlabelled.fingerprint()


def test_folders_and_python_give_the_same_task(own):
    made = {"size": SIZE, "labels": 2, "cache_dir": own.parent / "cache"}
    sources = {"fronts": own / "sources/fronts"}
    assert task_of(sources, own / "target", **made).fingerprint() == task_from(own).fingerprint()
    untested = task_of(sources, own / "target", **made, tested=False)
    assert untested.fingerprint() == task_from(own, "own-untested").fingerprint()
    alone = task_of({}, own / "target", **made)
    assert alone.sources == () and alone.fingerprint() == task_from(own, "own-alone").fingerprint()


def test_without_a_test_every_mask_may_teach(own, capsys):
    task = task_from(own, "own-untested", labels=16)
    assert (len(task.labelled), len(task.unlabelled), task.validation, task.test) == (16, 12, None, None)
    assert "16 of 16 labelled images of the target teach, and none is scored\n" in capsys.readouterr().err
    for file in (own / "target/masks").glob("[b-h]*"):
        file.unlink()
    assert len(task_from(own, "own-untested", labels=2).unlabelled) == 26
    assert "2 of 2 labelled images" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"2 images with masks of 1 groups \(a\).* recipe own-untested"):
        task_from(own, labels=2)


@pytest.mark.parametrize(
    ("recipe", "labels", "message"),
    [
        ("own", 11, r"11, but the target has 10 training images with a label; choose 0 to 10; or let every"),
        ("own-untested", 17, r"17, but the target has 16 training images; choose 0 to 16$"),
    ],
)
def test_more_labels_than_masks_are_one_clear_error(own, recipe, labels, message):
    with pytest.raises(InputError, match=message):
        task_from(own, recipe, labels)


def test_a_source_needs_its_masks(own):
    (own / "sources/fronts/masks/x1.png").unlink()
    with pytest.raises(InputError, match="image without mask: x1; expected a mask of the same name"):
        task_from(own)
    assert task_from(own, "own-alone").sources == ()
    with pytest.raises(InputError, match="recipe 'own-alone' has no source; got sources = 2"):
        task_from(own, "own-alone", sources=2)
    with pytest.raises(InputError, match="recipe 'own-alone' needs data_dir: a folder with target/"):
        task_from(own, "own-alone", data_dir=None)


def test_a_recipe_that_cuts_needs_every_mask(own):
    with pytest.raises(InputError, match="image without mask: a_3, z0, z1, z10, z2 and 7 more"):
        local_task("folder", "parts", labels=2, size=SIZE, data_dir=own / "target")


def test_a_cache_from_before_a_mask_was_drawn_is_never_used(own):
    before = task_from(own).unlabelled
    save_domain(own / "other", ["z3"], seed=5)
    (own / "other/masks/z3.png").rename(own / "target/masks/z3.png")
    task = task_from(own, "own-untested", labels=0)
    row = task.unlabelled.groups.tolist().index("z3")
    assert task.unlabelled.has_label[row] and bool(task.unlabelled.masks[row].any())
    row = before.groups.tolist().index("z3")
    assert not before.has_label[row] and not bool(before.masks[row].any())


def test_copies_among_images_without_a_mask_are_no_leak():
    domain = blobs("a", 8, SIZE, 0)
    groups = np.array([f"g{k}" for k in range(8)])
    images = domain.images.clone()
    images[5] = images[4]
    domain = replace(domain, images=images, groups=groups)
    with pytest.raises(InputError, match="groups g4 and g5 share an image"):
        check_groups(hidden(domain, [5]), "target")
    check_groups(hidden(domain, [4, 5]), "target")


def test_tiles_of_an_image_without_a_mask_have_none(own, tmp_path):
    save_domain(tmp_path / "large", ["a", "b"], (96, 64))
    (tmp_path / "large/masks/b.png").unlink()
    assert cut_folder(tmp_path / "large", tmp_path / "tiles", (32, 48)) == 8
    assert {f.name[0] for f in (tmp_path / "tiles/masks").iterdir()} == {"a"}
    assert len(list((tmp_path / "tiles/images").iterdir())) == 8


TINY = {"profile": "tiny", "steps": 2, "device": "cpu", "precision": "32-true"}


@pytest.mark.parametrize(
    ("recipe", "method", "labels"),
    [("own-untested", "mstl_plus", 16), ("own-alone-untested", "target_only", 4)],
)
def test_a_run_without_a_test_predicts_and_has_no_score(own, tmp_path, monkeypatch, recipe, method, labels):
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    config = TrainConfig(
        data="folder",
        recipe=recipe,
        data_dir=str(own),
        method=method,
        labels=labels,
        out=str(tmp_path),
        **TINY,
    )
    config = replace(config, mean_teacher=0.5)
    run = train(config)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (
        manifest["tested"] is False and manifest["domain_probe"] == {} and not (run / "images.csv").exists()
    )
    assert train(config) == run  # finished
    written = predict_folder(str(run), str(own / "target/images"), str(tmp_path / "masks"), "cpu")
    assert len(written) == 28
    with pytest.raises(InputError, match="no finished run below"):
        results.collect(str(run), str(tmp_path / "tables"))


def test_runs_without_a_score_stand_in_no_table(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    for recipe in ("own-alone", "own-alone-untested"):
        config = {"data": "folder", "recipe": recipe, "data_dir": str(own), "method": "target_only"}
        train(TrainConfig(labels=2, out=str(tmp_path / "runs"), **config, **TINY))
    written = results.collect(str(tmp_path / "runs"), str(tmp_path / "tables"))
    assert "1 finished runs without a test have no score" in capsys.readouterr().err
    assert (tmp_path / "tables/folder/runs.csv") in written
    assert results.load(tmp_path / "tables", "folder", "runs")["recipe"].tolist() == ["own-alone"]


def test_a_method_that_learns_from_sources_is_not_trained_without(own, tmp_path):
    config = TrainConfig(data="folder", recipe="own-alone", data_dir=str(own), labels=2, out=str(tmp_path))
    with pytest.raises(
        InputError, match="method 'mstl' learns from sources, and task 'folder/own-alone' has no"
    ):
        train(config, task=task_from(own, "own-alone"))


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_batch_without_sources_is_the_same_target(synchronised):
    task = toy_task(sources=1)
    with_one, batches = Batches(task), Batches(replace(task, sources=()), synchronised=synchronised)
    one, batch = with_one.at(3), batches.at(3)
    assert (
        batch.J == 0
        and batch.source_x.shape == (0, 8, 3, 32, 48)
        and batch.source_y.shape == (0, 8, 1, 32, 48)
    )
    assert torch.equal(batch.target.x, one.target.x) and torch.equal(batch.target.y, one.target.y)
