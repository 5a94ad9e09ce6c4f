"""A finished run used on images of one's own."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import toy_classes, toy_task
from PIL import Image
from test_orientation import TURNS, save

from mstl.data.augment import to_float
from mstl.data.readers.masks import read_mask
from mstl.report.local.diagnose import load_run
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method, predict_folder
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError

FINGERPRINTS = ("data_fingerprint", "source_fingerprint")


@pytest.fixture(scope="module", params=["mstl", "oracle"])
def run(request, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(TrainConfig, "task", lambda self: toy_task(labels=self.labels))
    out = str(tmp_path_factory.mktemp("runs"))
    config = TrainConfig(method=request.param, profile="tiny", steps=10, labels=4, out=out)
    yield train(config), config
    patch.undo()


def test_the_loaded_method_is_the_one_that_was_scored(run):
    folder, config = run
    trainer = Trainer(config, toy_task())
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    identity = {key: state[key] for key in ("settings", "data_fingerprint", "source_fingerprint")}
    trainer.restore(folder / "checkpoint.pt", identity)
    images = to_float(toy_task().test.images)
    with torch.no_grad():
        assert torch.equal(load_method(folder).predict(images), trainer.predict(images))


def test_a_folder_of_images_becomes_a_folder_of_masks_of_their_sizes(run, tmp_path):
    folder, _ = run
    (tmp_path / "photographs").mkdir()
    for name, size in (("a.png", (48, 32)), ("b.jpg", (91, 57))):
        noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photographs" / name)
    written = predict_folder(str(folder), str(tmp_path / "photographs"), str(tmp_path / "masks"))
    assert [path.name for path in written] == ["a.png", "b.png"]
    masks = [Image.open(path) for path in written]
    assert [mask.size for mask in masks] == [(48, 32), (91, 57)]
    assert all(set(np.unique(np.asarray(mask))) <= {0, 255} for mask in masks)
    same = load_method(folder).predict(
        to_float(
            torch.from_numpy(np.array(Image.open(tmp_path / "photographs" / "a.png"))).permute(2, 0, 1)[None]
        )
    )
    assert np.array_equal(np.asarray(masks[0]) > 0, (same[0, 0] > 0).numpy())


@pytest.mark.parametrize("run", ["oracle"], indirect=True)
def test_a_mask_lies_as_its_image_is_stored(run, tmp_path, capsys):
    picture = toy_task().test.images[0].permute(1, 2, 0).numpy()
    for tag in TURNS:
        for ending in ("png", "tif"):
            save(tmp_path / f"in/{ending}{tag}.{ending}", picture, tag)
    Image.fromarray(np.arange(1536, dtype=np.uint16).reshape(32, 48)).save(tmp_path / "in/dim.png")
    masks = {path.stem: path for path in predict_folder(str(run[0]), f"{tmp_path}/in", f"{tmp_path}/out")}
    assert f"of {len(masks)} images have 16 bits a channel but use the lowest" in capsys.readouterr().err
    del masks["dim"]
    upright = read_mask(masks["png1"], (48, 32), tmp_path)
    assert not any(np.array_equal(turn(upright), upright) for tag, turn in TURNS.items() if tag > 1)
    for name, path in masks.items():
        tag = int(name[3:])
        assert np.array_equal(read_mask(path, (48, 32), tmp_path), upright)
        assert np.array_equal(np.asarray(Image.open(path)), 255 * TURNS[tag](upright))


def class_run(tmp_path, shape):
    known = {"data": "digits", "recipe": "to-handwritten", "out": str(tmp_path / "runs")}
    config = TrainConfig(**known, method="mstl", profile="tiny", steps=4)
    return train(config, task=toy_classes(shape)), config


def test_of_classes_a_folder_of_images_becomes_a_table(tmp_path):
    test = toy_classes().test
    folder, config = class_run(tmp_path, (3, 28, 28))
    (tmp_path / "in").mkdir()
    for k, image in enumerate(test.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"in/={k}.png")
    (written,) = predict_folder(str(folder), str(tmp_path / "in"), str(tmp_path / "out"))
    table = pd.read_csv(written, keep_default_na=False)
    assert [*table] == ["file", "class", "probability"]
    assert [*table["file"]] == [f"'={k}.png" for k in range(len(test))]  # no formula of a spreadsheet's
    method = load_method(folder)
    logits = method.predict(to_float(test.images))
    assert [*table["class"]] == [test.classes[k] for k in logits.argmax(1).flatten()]
    np.testing.assert_allclose(table["probability"], logits.softmax(1).amax(1).flatten().detach(), atol=1e-4)
    trainer = Trainer(config, toy_classes())
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    trainer.restore(folder / "checkpoint.pt", {key: state[key] for key in ("settings", *FINGERPRINTS)})
    with torch.no_grad():
        assert torch.equal(logits, trainer.predict(to_float(test.images)))
    with pytest.raises(InputError, match="tells classes; diagnose measures masks"):
        load_run(folder)


def test_of_vectors_there_is_no_folder_of_images(tmp_path):
    folder, _ = class_run(tmp_path, (12, 1, 1))
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in/a.png")
    with pytest.raises(InputError, match="reads vectors, not images; use load_method") as caught:
        predict_folder(str(folder), str(tmp_path / "in"), str(tmp_path / "out"))
    assert "\n" not in str(caught.value)


def test_an_unfinished_run_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"not a finished run: manifest\.json is missing"):
        load_method(tmp_path)
