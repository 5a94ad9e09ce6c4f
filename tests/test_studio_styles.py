"""The studio's cars labelled by body style: every recipe of the studio, with classes."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import blobs

import command_line
import sweep_file
from mstl.data import load, load_chimeras, local_task
from mstl.data.domain import Domain
from mstl.data.files import files_fingerprint
from mstl.data.readers import studio
from mstl.data.recipes.local import RECIPES
from mstl.data.recipes.spoil import harmful, useless
from mstl.data.splits import evenly
from mstl.problems import Classification
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

SIZE = (16, 24)
STYLES = ("estate", "hatchback", "pickup", "sedan", "suv", "van")
TABLE = "id,year,make,model,trim1,trim2,body_style\n"


def test_classes_are_the_body_styles_of_the_table_and_pixels_those_of_the_studio():
    styled, plain = load("studio-styles", SIZE), load("studio", SIZE)
    assert styled.classes == STYLES and plain.labels is None
    assert torch.equal(styled.images, plain.images) and torch.equal(styled.masks, plain.masks)
    with zipfile.ZipFile(Path(studio.__file__).parents[3] / "data/studio.zip") as archive:
        lines = archive.read("studio/metadata.csv").decode().splitlines()[1:]
    known = {line.split(",")[0]: line.split(",")[-1] for line in lines}
    assert [STYLES[k] for k in styled.labels] == [known[car] for car in styled.groups.tolist()]


@pytest.mark.parametrize(
    "recipe", [name for name, recipe in RECIPES.items() if "studio-styles" in recipe.sources]
)
def test_every_recipe_of_body_styles_is_there_with_every_style_in_every_part(recipe):
    for number in RECIPES[recipe].sources["studio"]:
        made = local_task("studio-styles", recipe, number, labels=12, size=SIZE, seed=number)
        assert len(made.sources) == number and made.problem == Classification(STYLES, (3, *SIZE))
        assert all(torch.bincount(d.labels, minlength=6).min() > 0 for d in made.domains())
        assert torch.bincount(made.labelled.labels).tolist() == [2] * 6
        of_sources = {car for source in made.sources for car in source.groups.tolist()}
        seen = [set(d.groups.tolist()) for d in (made.validation, made.test)]
        training = set(made.labelled.groups.tolist()) | set(made.unlabelled.groups.tolist())
        assert not seen[0] & seen[1] and not (of_sources | training) & (seen[0] | seen[1])


def test_all_recipes_of_the_studio_but_those_that_label_parts_have_body_styles():
    of_masks, of_styles = (
        {name for name, recipe in RECIPES.items() if data in recipe.sources}
        for data in ("studio", "studio-styles")
    )
    assert of_masks - of_styles == {name for name in RECIPES if name.startswith("masks")}
    with pytest.raises(InputError, match="recipe 'masks' does not exist for data 'studio-styles'"):
        local_task("studio-styles", "masks")


def test_windows_and_chimeras_keep_the_class_of_their_car():
    whole = load("studio-styles", SIZE)
    style = dict(zip(whole.groups.tolist(), whole.labels.tolist(), strict=True))
    for source in local_task("studio-styles", "parts", labels=0, size=SIZE).sources:
        assert source.size != SIZE
        assert [style[car] for car in source.groups.tolist()] == source.labels.tolist()
    front = load_chimeras("front", SIZE, styles=True)
    assert torch.bincount(front.labels).tolist() == [32] * 6 and front.classes == STYLES


def test_the_same_seed_is_the_same_task_and_fewer_labels_are_among_more():
    def task(labels=6, seed=1):
        return local_task("studio-styles", "views", labels=labels, seed=seed, size=SIZE)

    six, twelve = task(), task(12)
    assert six.fingerprint() == task().fingerprint() != task(seed=2).fingerprint()
    assert len(set(twelve.labelled.groups.tolist())) == 12, "different cars while there are cars"
    assert torch.equal(twelve.labelled.images[:6], six.labelled.images)
    with pytest.raises(InputError, match="labels = 4 are fewer than the 6 classes"):
        task(4)


def test_every_beginning_is_spread_evenly():
    assert evenly(list(range(7)), dict(enumerate("aaaabbc"))) == [0, 4, 6, 1, 5, 2, 3]
    assert evenly([2, 0, 1], {}) == [2, 0, 1]


def classed(n: int) -> Domain:
    return replace(
        blobs("front", n, (16, 24), 0), labels=(torch.arange(n) % 3).to(torch.uint8), classes=("a", "b", "c")
    )


def test_harmful_classes_are_the_next_ones_and_images_do_not_say_it():
    like = classed(9)
    assert ((harmful(like, 0).labels.int() - like.labels.int()) % 3 == 1).all()


def test_useless_classes_are_as_frequent_and_independent():
    like = classed(300)
    bad = useless(like, 3)
    assert torch.equal(torch.bincount(bad.labels), torch.bincount(like.labels))
    assert 0.2 < (bad.labels == like.labels).float().mean() < 0.47
    plain = useless(replace(like, labels=None, classes=()), 3)
    assert torch.equal(plain.images, bad.images) and torch.equal(plain.masks, bad.masks)


def test_extra_sources_and_sources_left_out_are_those_of_masks():
    asked = {"labels": 6, "size": SIZE, "extra": "useless harmful", "without": "rear"}
    made = local_task("studio-styles", "parts", **asked)
    assert [source.name for source in made.sources] == ["front", "cabin", "useless", "harmful"]
    assert all(source.classes == STYLES for source in made.sources)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three cars of two views and three chimeras of one part, unpacked."""
    archive = zipfile.ZipFile(Path(studio.__file__).parents[3] / "data/studio.zip")
    names = archive.namelist()
    for below in ("", "chimeras/front/"):
        folder = f"studio/{below}train/"
        cars = sorted({Path(n).stem.split("_")[0] for n in names if n.startswith(folder)})[:3]
        for name in names:
            kind = name.removeprefix(f"studio/{below}").partition("/")[0]
            wanted = kind in ("train", "train_masks", "parts") and name.startswith(f"studio/{below}")
            if wanted and Path(name).name.startswith(tuple(f"{car}_0{v}" for car in cars for v in (1, 3))):
                archive.extract(name, tmp_path)
        rows = "".join(
            f"{car},2020,A,B,C,D,{s}\n" for car, s in zip(cars, ("van", "suv", "van"), strict=True)
        )
        (tmp_path / "studio" / below / "metadata.csv").write_text(TABLE + rows)
    return tmp_path / "studio"


def test_a_folder_is_read_like_the_file(place, tmp_path):
    made = load("studio-styles", SIZE, place, tmp_path / "cache")
    assert made.classes == ("suv", "van") and made.labels.tolist() == [1, 1, 0, 0, 1, 1]
    front = load_chimeras("front", SIZE, place, tmp_path / "cache", styles=True)
    assert front.classes == ("suv", "van") and front.labels.tolist() == [1, 1, 0, 0, 1, 1]


def test_a_label_changes_every_fingerprint(place, tmp_path):
    def now():
        domain = load("studio-styles", SIZE, place, tmp_path / "cache")
        return domain.fingerprint(), files_fingerprint("studio-styles", str(place))

    before, table = now(), place / "metadata.csv"
    table.write_text(table.read_text().replace(",suv", ",van").replace(",van", ",suv", 1))
    assert all(a != b for a, b in zip(before, now(), strict=True))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda text: None, r"metadata\.csv does not exist"),
        (lambda text: text.replace("body_style", "style"), "body_style is missing"),
        (
            lambda text: text.rpartition("\n")[0].rpartition("\n")[0] + "\n",
            r"must give car \w+ one of .* found none",
        ),
        (lambda text: text + text.splitlines()[1] + "\n", "written once"),
        (lambda text: text.replace(",suv", ","), "must have one body_style"),
    ],
)
def test_a_bad_table_is_one_clear_error_before_any_image_is_decoded(
    place, tmp_path, spoil, message, monkeypatch
):
    table = place / "metadata.csv"
    changed = spoil(table.read_text())
    table.unlink() if changed is None else table.write_text(changed)
    monkeypatch.setattr("mstl.data.store.domain", None)
    with pytest.raises(InputError, match=message):
        load("studio-styles", SIZE, place, tmp_path / "cache")


def test_a_chimera_of_a_style_that_no_car_has_is_refused(place, tmp_path):
    table = place / "chimeras/front/metadata.csv"
    table.write_text(table.read_text().replace("suv", "truck"))
    with pytest.raises(InputError, match="found 'truck', which no whole car is"):
        load_chimeras("front", SIZE, place, tmp_path / "cache", styles=True)


def test_files_of_the_studio_are_those_of_its_styles(monkeypatch, place):
    assert files_fingerprint("studio-styles", None) != files_fingerprint("studio", None)
    inside = files_fingerprint("studio-styles", None)
    monkeypatch.setenv("MSTL_STUDIO", str(place))
    assert files_fingerprint("studio-styles", None) != inside


def sweep(tmp_path: Path, labels: str) -> sweep_file.Sweep:
    path = tmp_path / "own.yaml"
    blocks = f"""
profile: tiny
seeds: [0]
blocks:
  - {{data: studio-styles, recipe: views, labels: {labels}, methods: [source_only]}}
  - {{data: digits, recipe: to-sans, labels: 10, methods: [source_only]}}
  - {{data: carparts, labels: 10, methods: [source_only]}}
"""
    path.write_text(blocks)
    return sweep_file.read(path, data_dirs={})


def test_a_sweep_needs_no_folder_for_what_is_embedded(tmp_path):
    made = sweep(tmp_path, "[6, 12]")
    assert [c.data for c in made.configs] == ["studio-styles", "studio-styles", "digits"]
    assert made.skipped == {"carparts": 1}
    sweep_file.check(made)


def test_a_sweep_says_too_few_labels_before_its_first_run(tmp_path):
    with pytest.raises(InputError, match="block 1: labels = 4 are fewer than the 6 classes"):
        sweep_file.check(sweep(tmp_path, "[4, 12]"))


@pytest.mark.parametrize("word", ["DATA_DIR_STUDIO_STYLES", "data_dir_studio-styles"])
def test_the_command_line_of_make_names_its_folder(word, tmp_path):
    assert command_line.parse([f"{word}={tmp_path}"]).data_dirs == {"studio-styles": str(tmp_path)}


def test_data_of_several_domains_are_not_one():
    with pytest.raises(InputError, match="data 'digits' are several domains"):
        load("digits", SIZE)


def test_a_run_knows_its_problem():
    config = TrainConfig(data="studio-styles", recipe="chimeras", profile="tiny")
    assert config.problem == "classification" == config.task().problem.name
