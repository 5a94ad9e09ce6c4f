"""The union of masks: what the formula promises, and what MSTL makes of it where sources label parts."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conftest import toy_classes, toy_task
from rearranged import asked, drawn, made, slopes, weights
from small import batch_of, gradients, total
from torch.nn.functional import logsigmoid

from mstl.data import Domain, Task
from mstl.data.augment import to_float
from mstl.measures.contradiction import pooled_balance
from mstl.methods import build
from mstl.nn.outputs import union
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError

EXTREMES = (-100.0, -88.0, -30.0, 0.0, 17.0, 89.0, 100.0)


def heads(j: int, dtype=torch.float64) -> torch.Tensor:
    return 4 * torch.randn(j, 5, 1, 3, 4, generator=torch.Generator().manual_seed(j), dtype=dtype)


@pytest.mark.trust(
    "formulas", "The union of J heads is 1 − ∏(1 − σ(P)) to 1e-12, in float64, whatever their order."
)
@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_the_union_is_the_product_formula(j):
    z = heads(j)
    product_formula = 1 - (1 - z.sigmoid()).prod(0)
    torch.testing.assert_close(union(z).sigmoid(), product_formula, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(union(z), union(z.flip(0)), rtol=1e-12, atol=1e-12)
    # log(1 − ŷ) is a sum over heads.
    torch.testing.assert_close(logsigmoid(-union(z)), logsigmoid(-z).sum(0), rtol=1e-12, atol=1e-12)


@pytest.mark.trust(
    "limits", "One head is its own union, bit for bit; a head that sees nothing takes no part."
)
def test_one_head_and_heads_that_see_nothing():
    z = heads(3, torch.float32)
    assert torch.equal(union(z[:1]), z[0])
    nothing = torch.full_like(z[0], -torch.inf)
    assert torch.equal(union((z[0], nothing)), z[0])
    assert torch.equal(union((nothing, nothing, nothing)), nothing)
    # Where nothing is certain, J copies of a rare event are J times as likely.
    rare = torch.full((4, 1, 1, 1, 1), -60.0)
    torch.testing.assert_close(union(rare), rare[0] + torch.tensor(4.0).log())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_certain_heads_neither_overflow_nor_lose_their_gradient(dtype):
    z = torch.tensor(list(product(EXTREMES, repeat=3)), dtype=dtype).T[..., None, None, None]
    z.requires_grad_()
    united = union(z)
    (slope,) = torch.autograd.grad(united.sum(), z)
    largest = z.detach().float().amax(0)
    assert united.dtype == torch.float32 and united.isfinite().all()
    assert (united >= largest).all()
    assert slope.isfinite().all() and (slope >= 0).all() and (slope <= 1).all()
    # d union / d P_j = σ(P_j) / union probability: the largest head is always heard.
    assert (slope.float().amax(0) > 0.3).all()
    exact = union(z.detach().double())
    torch.testing.assert_close(united.double(), exact, rtol=1e-6, atol=1e-5)


# --- in MSTL -------------------------------------------------------------------------------------------

PARTS = (True, True, True)


def plus(overrides="", labelled=True, partial=PARTS):
    torch.manual_seed(0)
    return build("mstl_plus", len(partial), labelled, f"depth=3 {overrides}", partial=partial, width=4)


@pytest.mark.parametrize("name", ["mstl", "mstl_plus"])
@pytest.mark.parametrize("labels", [0, 4])
def test_the_union_of_the_heads_predicts_and_is_what_target_masks_teach(name, labels):
    method, batch = made(name, 3, "fusion=union adversarial=false", labels > 0), drawn(3, labels)
    state = weights(method)
    losses = asked(method, state)("losses", batch, 0.7)
    assert set(losses) == {"source", *(["target_union"] if labels else [])}
    alone = asked(method, state)("head_logits", batch.target.x)
    torch.testing.assert_close(asked(method, state)("predict", batch.target.x), union(alone))
    if not labels:
        return
    y = batch.target.y
    wanted = {"target_union": method.problem.loss(union(alone[:, : len(y)]), y)}
    found = {"target_union": losses["target_union"]}
    torch.testing.assert_close(found, wanted)
    for key, slope in slopes(found, state).items():
        torch.testing.assert_close(slope, slopes(wanted, state)[key])


def test_a_target_mask_that_one_head_completes_asks_nothing_of_the_others():
    """The whole is no head's part: a head that sees nothing is not punished where another sees the object."""
    method, batch = made("mstl", 2, "fusion=union adversarial=false attention=none"), drawn(2)
    target = replace(batch.target, y=torch.ones_like(batch.target.y))
    with torch.no_grad():
        for network, bias in zip(method.subnetworks, (40.0, -40.0), strict=True):
            network.predictor.head.weight.zero_()
            network.predictor.head.bias.fill_(bias)
    loss = method.losses(replace(batch, targets=(target,) * 2), 0.5)["target_union"]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(g.abs().max() < 1e-12 for g in gradients(method.subnetworks[1], loss))


@pytest.mark.parametrize(
    ("partial", "overrides", "fusion"),
    [
        ((False,) * 3, "", "concat"),
        (PARTS, "", "union"),
        ((True, True, False), "", "union"),  # one source labels the whole
        (PARTS, "fusion=mean", "mean"),
        ((False,) * 3, "fusion=union", "union"),
    ],
)
def test_plus_chooses_by_how_its_sources_were_annotated(partial, overrides, fusion):
    for labelled in (False, True):
        method = plus(overrides, labelled, partial)
        assert method.fusion == fusion and method.unites == (fusion == "union")
        # What one source calls background is another's object: no head sees the other sources.
        assert method.mixing == (0 if labelled or method.unites else pytest.approx(2 / 3))


def test_heads_that_are_right_to_differ_have_equal_weights():
    method = plus(labelled=False)
    method.distances.copy_(torch.tensor([0.02, 0.02, 0.9]))
    assert torch.equal(method.weights, torch.full((3,), 1 / 3))


def test_the_game_compares_each_head_with_its_own_part():
    method = plus(labelled=False)
    method.source_shares.copy_(torch.tensor([[0.05], [0.2], [0.4]]))
    method.target_share.copy_(torch.tensor([[0.05], [0.2], [0.45]]))
    full = method.hyper.strength
    assert method.strength(1.0).tolist() == pytest.approx([full, full, full / 2], rel=1e-3)


def test_a_union_has_no_consistency_of_its_own_unless_it_is_set():
    assert plus().teacher == 0 and plus("consistency=3").teacher == 3 and plus("fusion=concat").teacher == 10
    with pytest.raises(InputError, match="consistency=-2"):
        plus("consistency=-2")


def test_consistency_acts_on_the_union():
    method, batch = plus("adversarial=false consistency=10").eval(), batch_of(toy_task())
    unlabelled = batch.target.x[batch.target.unlabelled]
    united = union(method.head_logits(unlabelled)).sigmoid().detach()
    for taught, far in ((united, False), (1 - united, True)):
        target = replace(batch.target, taught=taught)
        distance = method.losses(replace(batch, targets=(target,) * 3), 0.5)["consistency"]
        assert (distance > 1e-4) == far and (far or distance < 1e-10)


@pytest.mark.parametrize("name", ["mstl", "mstl_plus"])
def test_masks_of_different_images_are_not_joined(name):
    method = build(name, 3, True, "depth=3 fusion=union synchronised=false", width=4)
    batch = batch_of(toy_task(), synchronised=False)
    targets = tuple(
        replace(t, taught=torch.zeros(len(t.x) - len(t.y), 1, *t.x.shape[2:])) for t in batch.targets
    )
    losses = method.losses(replace(batch, targets=targets), 0.5)
    assert not {"target_union", "target_heads", "consistency"} & set(losses)
    assert method.predict(batch.target.x).shape == (4, 1, 32, 48)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build("mstl", 3, True, "fusion=union", toy_classes((3, 28, 28)).problem),
            "fusion=union joins masks; of classes choose concat",
        ),
        (lambda: build("mstl", 3, True, "fusion=auto"), "fusion='auto' is unknown"),
        (lambda: plus("paste=true"), "paste=true needs sources that label the whole object"),
    ],
)
def test_what_has_no_union_is_one_clear_line(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def of_parts(labels: int = 0):
    """`toy_task` of which source 0 labels left halves, source 1 right halves."""
    task = toy_task(2, labels, source_size=(32, 48))
    sources = tuple(
        replace(source, masks=(source.parts == j + 1).to(torch.uint8), partial=True)
        for j, source in enumerate(task.sources)
    )
    return replace(task, sources=sources)


@pytest.mark.parametrize("name", ["mstl_plus", "multi_head", "positive_unlabelled"])
def test_a_trained_run_is_loaded_with_the_union_it_was_trained_with(name, tmp_path):
    config = TrainConfig(method=name, labels=0, steps=2, profile="tiny", out=str(tmp_path))
    task = of_parts()
    folder = train(config, task=task)
    images = torch.randn(2, 3, 32, 48)
    trainer = Trainer(config, task)
    trainer.restore(folder / "checkpoint.pt", _identity(folder))
    loaded = load_method(folder)
    assert loaded.partial == (True, True)
    torch.testing.assert_close(loaded.predict(images), trainer.averaged.module.eval().predict(images))


def _identity(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return {key: manifest[key] for key in ("settings", "data_fingerprint", "source_fingerprint")}


def test_how_sources_were_annotated_is_part_of_the_data():
    whole, parts = toy_task(2), toy_task(2)
    marked = tuple(replace(source, partial=True) for source in parts.sources)
    assert parts.partial == (False, False)
    parts = replace(parts, sources=marked)
    assert parts.partial == (True, True)
    assert whole.fingerprint() != parts.fingerprint()
    kept = marked[0].select([0, 1]).join(marked[0], "both").to("cpu")
    assert kept.partial


def patches(name: str, seed: int, marked: tuple[int, ...]) -> Domain:
    """Objects of three patches, red, green and blue, at random places on grey, of which some are marked."""
    draw = np.random.default_rng(seed)
    images, parts = np.full((12, 3, 16, 24), 90, np.uint8), np.zeros((12, 1, 16, 24), np.uint8)
    for i, colour in product(range(12), range(3)):
        y, x = draw.integers(0, 10), 8 * colour + draw.integers(0, 3)
        images[i, colour, y : y + 6, x : x + 5] = 250
        parts[i, 0, y : y + 6, x : x + 5] = colour + 1
    images += draw.integers(0, 6, images.shape, dtype=np.uint8)
    masks = torch.from_numpy(np.isin(parts, [k + 1 for k in marked]).astype(np.uint8))
    cars, views = np.array([f"{name}-{i}" for i in range(12)]), np.zeros(12, np.int64)
    return Domain(name, torch.from_numpy(images), masks, cars, views, partial=len(marked) < 3)


def test_heads_complete_the_object_where_a_pooled_network_stays_undecided(tmp_path):
    """Source j marks colour j: pooled, each colour is object in one source of three.

    How undecided, the balance of cross-entropy and soft Dice says.
    """
    whole = (0, 1, 2)
    task = Task(
        "toy/patches",
        tuple(patches(f"source {j}", j, (j,)) for j in range(3)),
        None,
        *(patches(name, 10 + k, whole) for k, name in enumerate(("unlabelled", "validation", "test"))),
    )
    scores, certain, steps = {}, {}, 240
    for name, overrides in {
        "source_combine": "",
        "mstl_plus": "adversarial=false",
        "multi_head": "",
        "positive_unlabelled": "",
    }.items():
        config = TrainConfig(
            method=name, overrides=f"depth=1 {overrides}", labels=0, profile="tiny", steps=steps,
            learning_rate=0.02, ema=0.9, precision="32-true", out=str(tmp_path),
        )  # fmt: skip
        trainer = Trainer(config, task)
        for _ in range(steps):
            trainer.update()
        logits = trainer.predict(to_float(task.test.images))
        certain[name] = logits.sigmoid()[task.test.masks.bool()].mean().item()
        scores[name] = float(trainer.task.problem.table(logits, task.test)["dice"].mean())
    share = float(task.test.masks.double().mean())
    assert certain["source_combine"] == pytest.approx(pooled_balance(share, sources=3), abs=0.04)
    for name in ("mstl_plus", "multi_head", "positive_unlabelled"):
        assert scores[name] > 0.97 and certain[name] > 0.95, name
    assert scores["source_combine"] < min(scores[name] for name in scores if name != "source_combine")


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("sources", [1, 2, 3, 6])
def test_the_balance_of_contradicting_sources_is_where_the_loss_is_least(share, sources):
    found = pooled_balance(share, sources)
    q = torch.linspace(0.001, 0.999, 1999, dtype=torch.float64)
    cross_entropy = -(q.log() / sources + (1 - 1 / sources) * (1 - q).log())
    loss = share * cross_entropy + 1 - 2 * q / (sources * q + 1)
    assert found == pytest.approx(q[loss.argmin()].item(), abs=2e-3)
    assert found >= 1 / sources
    assert pooled_balance(share, sources + 1) < found  # more sources, less certain
    for wrong in ((0, 3), (1.1, 3), (0.3, 0)):
        with pytest.raises(InputError, match="share must lie in"):
            pooled_balance(*wrong)


def test_every_weight_of_a_union_learns():
    method, batch = plus("adversarial=false"), batch_of(toy_task())
    found = gradients(method, total(method.losses(batch, 0.5)))
    assert all(g.abs().max() > 0 for g in found)
