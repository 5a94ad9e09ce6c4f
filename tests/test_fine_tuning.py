"""L2, L2-SP, feature maps, DELTA, AFA and AMCF as methods: limits, stages, and what stands still.

Their formulas are held against numbers in test_golden_starting.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import toy_classes
from small import close, gradients, total, whole_and_resumed
from torch.nn import functional as F

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build, configured
from mstl.nn import extractor
from mstl.nn.rest import Rest
from mstl.nn.transfer import importance
from mstl.run.checkpoint import load_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.layers import search_layers
from mstl.system.errors import InputError

HELD = ("l2_sp", "feature_map", "delta", "afa")
ALL = ("fine_tuning", *HELD)
TASK = toy_classes()


def batch(labels=6, shape=(3, 32, 32)):
    task = toy_classes(shape, labels=labels)
    return next(Batches(task, batch_size=3, target_batch_size=8, augment=Augment.none()))


def made(name, overrides="", shape=(3, 32, 32)):
    torch.manual_seed(0)
    return build(name, 3, True, overrides, toy_classes(shape).problem, width=4).train()


def moved(method, by=0.1):
    """The method with another extractor than it began with."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in method.network.encoder.parameters():
            p.add_(by * torch.randn(p.shape, generator=generator))
    return method


@pytest.mark.parametrize("encoder", ["lenet", "unet"])
@pytest.mark.parametrize("name", HELD)
def test_nothing_holds_a_network_that_has_not_moved(name, encoder):
    method = made(name, f"encoder={encoder}", (3, 32, 32))
    for progress in (0.2, 0.3, 1.0):
        losses = method.losses(batch(shape=(3, 32, 32)), progress)
        assert losses["regulariser"].item() == pytest.approx(0, abs=1e-9)
        if name == "afa":
            method.second.done.fill_(True)
    assert moved(method).losses(batch(shape=(3, 32, 32)), 0.2)["regulariser"] > 1e-6


@pytest.mark.parametrize("name", ALL)
def test_without_weight_and_decay_it_is_training_on_the_labelled_images(name):
    given = "weight=0 decay=0" + (" weight_channels=0" if name == "afa" else "")
    method, plain = made(name, given), made("target_only")
    plain.network.load_state_dict(method.network.state_dict())
    b = batch()
    progress = 0.05 if name != "delta" else 0.5
    if name == "delta":
        method.second.done.fill_(True)
    mine, theirs = (gradients(m.network, total(m.losses(b, progress))) for m in (method, plain))
    assert close(mine, theirs)


@pytest.mark.parametrize("name", ALL)
def test_sources_and_unlabelled_images_teach_nothing(name):
    b = batch()
    other = batch()
    other.source_x.mul_(-3)
    other.target.x[len(b.target.y) :].mul_(-3)
    first, second = (total(made(name).losses(x, 0.05)) for x in (b, other))
    assert first.item() == second.item()


def test_afa_that_attends_to_nothing_is_the_distance_of_maps_per_image():
    b = batch()
    afa = moved(made("afa", "attention=uniform weight=0.5 weight_channels=0.5 encoder=unet"))
    maps = moved(made("feature_map", "weight=0.5 encoder=unet"))
    expected = maps.losses(b, 0.0)["regulariser"] / len(b.target.y)
    assert afa.losses(b, 0.2)["regulariser"].item() == pytest.approx(expected.item(), rel=1e-5)
    afa.second.done.fill_(True)  # held to the start still, so that the second stage has something to measure
    assert afa.losses(b, 0.8)["regulariser"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_afa_learns_where_to_look_and_says_how_much_it_looks_away():
    method, b = moved(made("afa", "encoder=unet")), batch()
    seen = method.observe(b, 0.2)
    assert set(seen) == {"place_entropy", "channel_entropy"} and all(0 < v <= 1 for v in seen.values())
    assert any(g.abs().max() > 0 for g in gradients(method.places, method.losses(b, 0.2)["regulariser"]))
    assert all(not g.any() for g in gradients(method.channels, method.losses(b, 0.2)["regulariser"] + 0 *
    total(
        {str(i): p.sum() for i, p in enumerate(method.channels.parameters())})))  # fmt: skip
    uniform = made("afa", "encoder=unet attention=uniform").observe(b, 0.2)
    assert all(v.item() == pytest.approx(1, abs=1e-5) for v in uniform.values())


def test_the_second_stage_of_afa_is_held_to_the_end_of_the_first():
    method, b = moved(made("afa")), batch()
    assert method.losses(b, 0.49)["regulariser"] > 0 and not method.second.done
    assert method.losses(b, 0.5)["regulariser"].item() == pytest.approx(0, abs=1e-9)
    anchor = [p.clone() for p in method.start.parameters()]
    assert close(anchor, list(method.network.encoder.parameters()), 0)
    assert moved(method).losses(b, 0.6)["regulariser"] > 0
    assert close(anchor, list(method.start.parameters()), 0)
    assert not any(p.requires_grad for p in method.start.parameters())


def test_a_frozen_start_normalises_with_its_own_statistics():
    """In training earlier layers of the network use the batch's, so that equal weights are not distance 0."""
    method = made("feature_map", "encoder=unet norm=batch")
    assert method.losses(batch(), 0.0)["regulariser"] > 1e-3
    before = [v.clone() for v in method.start.buffers()]
    method.losses(batch(), 0.0)
    assert close(before, list(method.start.buffers()), 0)


# --- DELTA ------------------------------------------------------------------------------------------------


def test_delta_counts_a_channel_by_what_is_lost_without_it():
    method, b = made("delta"), batch()
    x, y = b.target.x[: len(b.target.y)], b.target.y
    stage = method.start.get_submodule(method.start.stage_modules[-1])
    pool, head = method.start.pool, method.network.predictor.head
    with torch.no_grad():
        pool[0].weight[:, 7] = 0  # nobody reads channel 7
    grown = method.increases(stage, x, y)
    (places,), _ = method.start.staged(x)

    def loss(maps):
        return F.cross_entropy(head(pool(maps))[..., 0, 0], y)

    for c in (0, 7, 31):
        without = places.clone()
        without[:, c] = 0
        assert grown[c].item() == pytest.approx((loss(without) - loss(places)).item(), abs=1e-6)
    assert grown.shape == (50,) and grown[7].item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("encoder", ["tf_efficientnet_lite0", "resnet18", "unet"])
def test_the_rest_of_a_network_is_the_whole_one(encoder):
    """Every stage, every channel that is tried: as a hook in the whole network has it, to the bit."""
    torch.manual_seed(0)
    network = extractor(encoder, (3, 32, 32), 3, width=4, norm="batch").eval()
    x = batch().target.x[:2]
    for name in network.stage_modules:
        stage = network.get_submodule(name)
        rest = Rest(network, stage, x)
        for channel in (0, rest.map.shape[1] - 1):
            changed = rest.map.clone()
            changed[:, channel] = 0
            hook = stage.register_forward_hook(lambda *_, changed=changed: changed)
            whole = network(x)
            hook.remove()
            assert all(torch.equal(a, b) for a, b in zip(rest(changed), whole, strict=True))
    assert not any("forward" in vars(module) for module in network.modules())
    assert sum("conv" in type(m).__name__.lower() for m in rest.before) > 2


def test_the_head_of_delta_learns_alone_then_begins_anew():
    method, b = made("delta", "first=0.3"), batch()
    losses = method.losses(b, 0.1)
    assert all(not g.any() for g in gradients(method.network.encoder, total(losses)))
    assert any(g.any() for g in gradients(method.network.predictor, total(losses)))
    head = method.network.predictor.head.weight.clone()
    x, y = b.target.x[: len(b.target.y)], b.target.y
    stage = method.start.get_submodule(method.start.stage_modules[-1])
    expected = importance(method.increases(stage, x, y))
    method.losses(b, 0.3)
    assert torch.allclose(method.importance0, expected) and method.importance0.sum().item() == pytest.approx(
        1
    )
    assert not torch.equal(head, method.network.predictor.head.weight)
    fresh = method.network.predictor.head.weight.clone()
    method.losses(b, 0.4)
    assert torch.equal(fresh, method.network.predictor.head.weight)


# --- resuming, and data of other shapes ---------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [5, 15])
@pytest.mark.parametrize("name", ["delta", "afa"])
def test_a_run_resumes_in_either_stage_to_the_same_bits(name, stop_at, tmp_path):
    def config(place):
        return TrainConfig(
            data="digits", recipe="serif-to-handwritten", method=name, labels=20, profile="tiny",
            steps=20, overrides="first=0.5", out=str(tmp_path / place), device="cpu",
        )  # fmt: skip

    whole, folder = whole_and_resumed(config, stop_at, toy_classes())
    both = [load_checkpoint(run / "checkpoint.pt")["method"] for run in (whole, folder)]
    assert both[0].keys() == both[1].keys() and both[0]["second.done"]
    assert all(torch.equal(both[0][key], both[1][key]) for key in both[0])
    assert (whole / "images.csv").read_bytes() == (folder / "images.csv").read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_vectors_have_one_place(name):
    method, b = made(name, "hidden=16-8", (12, 1, 1)), batch(shape=(12, 1, 1))
    assert total(method.losses(b, 0.05)).isfinite() and total(method.losses(b, 0.9)).isfinite()
    assert method.predict(b.target.x).shape == (8, 3, 1, 1)


def test_random_weights_are_noted(capsys):
    made("afa")
    assert "begins with random weights" in "".join(capsys.readouterr())


# --- AMCF ---------------------------------------------------------------------------------------------------

FOUR = "lenet@none,unet@none,lenet@none,resnet18@none"


@pytest.mark.parametrize("J", [1, 2, 3, 4])
def test_amcf_has_as_many_networks_of_any_kind_as_are_named(J):
    shape = (3, 32, 32)
    method = made("amcf", f"models={','.join(FOUR.split(',')[:J])}", shape)
    b = batch(shape=shape)
    heads = method.each(b.target.x)
    assert heads.shape == (J, 8, 3, 1, 1)
    assert torch.allclose(method.predict(b.target.x), heads.mean(0), atol=1e-6)
    losses = method.losses(b, 0.5)
    assert (losses["collaboration"] == 0) == (J == 1)
    y = b.target.y
    each = [F.cross_entropy(o[: len(y), :, 0, 0], y) for o in heads]
    assert losses["target"].item() == pytest.approx(sum(each).item(), rel=1e-5)


def test_networks_that_do_not_collaborate_know_nothing_of_each_other():
    b = batch()
    both = made("amcf", "models=lenet@none,lenet@none weight=0 decay=0")
    for j in (0, 1):
        alone = made("target_only")
        alone.network.load_state_dict(both.networks[j].state_dict())
        theirs = gradients(alone.network, total(alone.losses(b, 0.0)))
        assert close(gradients(both.networks[j], total(both.losses(b, 0.0))), theirs)


def test_identical_networks_have_a_gradient():
    b = batch()
    method = made("amcf", "models=lenet@none,lenet@none weight=1 decay=0")
    method.networks[1].load_state_dict(method.networks[0].state_dict())
    losses = method.losses(b, 0.0)
    drawn = gradients(method, losses["collaboration"])
    assert losses["collaboration"] == 0 and all(not g.any() and g.isfinite().all() for g in drawn)
    assert all(g.isfinite().all() for g in gradients(method, total(losses)))


def test_cuts_are_of_one_network_each():
    method = made("amcf", "models=lenet@none,lenet@none cuts=2-0")
    moving = [
        [n for n, p in network.encoder.named_parameters() if p.requires_grad] for network in method.networks
    ]
    assert len(moving[1]) - len(moving[0]) == 4 and moving[0][0] == "pool.0.weight"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("models=", "must name one network at least"),
        ("models=lenet@none,,unet@none", "must name one network at least"),
        ("models=nothing", "is not a folder"),
        ("models=resnt@none", "neither ours nor a network of timm's"),
        ("models=lenet@none,lenet@none cuts=1", "a number for each of the 2 networks"),
        ("models=lenet@none cuts=half", "must be none, or a number for each"),
        ("models=lenet@none cuts=9", "this encoder has 3 convolutions"),
        ("weight=-1", "must be ≥ 0"),
    ],
)
def test_bad_models(overrides, message):
    with pytest.raises(InputError, match=message):
        made("amcf", overrides)


@pytest.mark.parametrize("name", ["delta", "afa"])
def test_bad_stages(name):
    with pytest.raises(InputError, match="layers=0 must be ≥ 1"):
        configured(name, "layers=0")
    with pytest.raises(InputError, match=r"first=1.0 must lie between 0 and 1"):
        configured(name, "first=1")


# --- the search of layers -----------------------------------------------------------------------------------


def searched(tmp_path: Path, **options) -> tuple[Path, pd.DataFrame]:
    config = TrainConfig(
        data="digits", recipe="serif-to-handwritten", method="amcf", labels=6, profile="tiny", steps=4,
        seed=3, overrides="models=lenet@none,lenet@none", out=str(tmp_path), device="cpu", **options,
    )  # fmt: skip
    folder, table = search_layers(config, 2, particles=3, iterations=2, task=toy_classes())
    return folder, pd.read_csv(table, dtype={"cuts": str})


def test_the_search_looks_at_validation_alone_and_goes_on_where_it_was(tmp_path, capsys):
    folder, table = searched(tmp_path)
    assert len(table) == 3 * (2 + 1) and list(table["convolutions"].unique()) == ["3-3"]
    best = table["cuts"][table["validation"].idxmax()]
    overrides = json.loads((folder / "manifest.json").read_text())["settings"]["overrides"]
    assert overrides == f"models=lenet@none,lenet@none cuts={best}"
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")}
    assert len(runs) == table["cuts"].nunique() + 1
    gone = next(path for path in runs if "search" in path.parts).parent
    for file in gone.iterdir():
        file.unlink()
    again, same = searched(tmp_path)
    assert again == folder and same.equals(table)
    changed = [p for p in tmp_path.rglob("manifest.json") if runs[p] != p.stat().st_mtime_ns]
    assert changed == [gone / "manifest.json"]


def test_the_search_is_of_amcf_alone(tmp_path):
    with pytest.raises(InputError, match="only the cuts of method=amcf are searched"):
        search_layers(TrainConfig(method="afa", out=str(tmp_path)), 2)
