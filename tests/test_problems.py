"""Classes and masks in one contract: what every method promises of classes, and where the two must agree."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import textures, toy_classes, toy_task
from small import batch_of, gradients, total
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.methods import METHODS, build
from mstl.methods.base import Method
from mstl.methods.dctn import pseudo_loss
from mstl.nn import Classifier
from mstl.nn.outputs import (
    certain,
    disagreement,
    entropy,
    label_losses,
    log_probabilities,
    mixture,
    probabilities,
)
from mstl.problems import Classification, Segmentation
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError

# Read by an MLP, by LeNet, and by a U-Net's encoder, pooled.
SHAPES = {"vectors": (12, 1, 1), "digits": (3, 28, 28), "photographs": (3, 32, 48)}
OF_CLASSES = [name for name, entry in METHODS.items() if "classification" in entry.problems]
EVERY = pytest.mark.parametrize("name", OF_CLASSES)
EACH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def reads(name, shape) -> None:
    """Skip where a method reads images alone."""
    if shape[1:] == (1, 1) and "vectors" not in METHODS[name].reads:
        pytest.skip("reads images")


OURS = ("mstl", "mstl_plus")


def made(name, shape, overrides="", labelled=True, classes=3) -> Method:
    torch.manual_seed(0)
    problem = toy_classes(shape, classes).problem
    return build(name, 3, labelled, f"depth=3 hidden=16-8 {overrides}", problem, width=4)


def learns(method: Method, batch, progress=0.6) -> dict[str, Tensor]:
    """The losses, of which every weight gets a gradient, early or at that time, unless it stands still."""
    dead = [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    for time in (0.1, 0.5, progress):
        losses = method.train().losses(batch, time)
        assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
        found = dict(zip(dict(method.named_parameters()), gradients(method, total(losses)), strict=True))
        dead = [name for name in dead if not found[name].abs().max() > 0]
    # The first layers of an attention wait for a last layer that begins at zero, and where nothing on the
    # target has a loss (no labels, and a game that `agreement` has closed) its own statistics are not learnt.
    # AFA's attention waits for a network that has moved (test_fine_tuning).
    waiting = (".attention.", "places.", "channels.")
    waiting += () if "target" in "".join(losses) else (".norms.1.",)
    assert [n for n in dead if not any(part in n for part in waiting)] == []
    return losses


# --- what every method promises --------------------------------------------------------------------------


@EVERY
@EACH
def test_a_method_on_classes_learns_with_all_its_weights_and_predicts_all_classes(name, shape):
    reads(name, shape)
    method, batch = made(name, shape), batch_of(toy_classes(shape))
    losses = learns(method, batch)
    assert set(method.aligns) <= set(losses)
    x = batch.target.x
    assert method.eval().predict(x).shape == (len(x), 3, 1, 1)
    heads = method.head_logits(x)
    assert heads is None or heads.shape == (3, len(x), 3, 1, 1)
    features = method.source_features(x, 1, 1)
    assert features is None or features.shape[0] == len(x)


@pytest.mark.parametrize("name", OURS)
@EACH
@pytest.mark.parametrize("labels", [0, 6])
@pytest.mark.parametrize(
    "overrides",
    [
        *("attention=both", "attention=spatial fusion=gated", "fusion=cross", "fusion=mean"),
        *("norm=batch", "norm=domain", "norm=none", "discriminator=image discriminator_reads=attended"),
        *("synchronised=false", "heads_see_target=true prediction=heads", "adversarial=false"),
    ],
)
def test_every_switch_of_ours_works_on_classes(name, shape, labels, overrides):
    method = made(name, shape, overrides, labels > 0)
    batch = batch_of(toy_classes(shape, labels=labels), synchronised=method.synchronised)
    learns(method, batch)
    assert method.eval().predict(batch.target.x).isfinite().all()
    assert all(value.isfinite() for value in method.observe(batch, 0.6).values())


@pytest.mark.parametrize(
    "overrides", ["attention=transferable with_labels=true", "mixing=0.5", "sharpness=5"]
)
@EACH
def test_every_switch_of_plus_works_on_classes(overrides, shape):
    method, batch = made("mstl_plus", shape, overrides), batch_of(toy_classes(shape))
    learns(method, batch)
    assert method.eval().predict(batch.target.x).shape[1] == 3


def test_what_is_pooled_cannot_be_weighed_by_who_reads_it_pooled():
    with pytest.raises(InputError, match="discriminator_reads=attended goes without attention=transferable"):
        made("mstl_plus", SHAPES["photographs"], "attention=transferable discriminator_reads=attended")


def test_sub_networks_on_classes_share_a_stem():
    method = made("mstl", SHAPES["photographs"], "stem=2")
    learns(method, batch_of(toy_classes(SHAPES["photographs"])))
    alone = made("mstl", SHAPES["photographs"])
    count = [sum(p.numel() for p in m.subnetworks.parameters()) for m in (method, alone)]
    assert count[0] < count[1]


@EVERY
@EACH
def test_observing_changes_nothing_on_classes(name, shape):
    reads(name, shape)
    method, batch = made(name, shape), batch_of(toy_classes(shape))
    method.train().losses(batch, 0.6)
    before = {key: value.clone() for key, value in method.eval().state_dict().items()}
    seen = method.observe(batch, 0.6)
    assert all(torch.equal(value, method.state_dict()[key]) for key, value in before.items())
    assert all(value.isfinite() for value in seen.values())
    assert ("gradient_ratio" in seen) == bool(method.aligns)


@EVERY
@pytest.mark.parametrize(
    ("kind", "labelled"), [("vectors", True), ("vectors", False), ("digits", True), ("photographs", True)]
)
def test_names_of_classes_do_not_matter(name, kind, labelled):
    """Permuting the classes, in the labels and in the heads alike, leaves losses and permutes predictions."""
    if METHODS[name].needs_labels and not labelled:
        pytest.skip("needs labels")
    shape = SHAPES[kind]
    reads(name, shape)
    order = torch.tensor([2, 0, 1])  # class k becomes what class order[k] was
    labelled |= name == "oracle"
    task = toy_classes(shape, labels=6 * labelled)
    plain, renamed = made(name, shape, labelled=labelled), made(name, shape, labelled=labelled)
    batch = batch_of(task)
    target = replace(batch.target, y=order.argsort()[batch.target.y])
    other = replace(batch, source_y=order.argsort()[batch.source_y], targets=(target,) * batch.J)
    with torch.no_grad():
        for module in renamed.modules():
            if isinstance(module, Classifier):
                module.head.weight.copy_(module.head.weight[order])
                module.head.bias.copy_(module.head.bias[order])
            if isinstance(module, nn.Embedding):
                module.weight.copy_(module.weight[order])
    if name == "san":  # it has a discriminator for each class
        adversary = renamed.adversary
        adversary.discriminators = nn.ModuleList(adversary.discriminators[k] for k in order.tolist())
    # DELTA's second stage begins with a fresh head.
    time = 0.05 if name == "delta" else 0.7
    losses = []
    for method, its in ((plain, batch), (renamed, other)):
        torch.manual_seed(1)
        losses.append(method.train().losses(its, time))
    assert losses[0].keys() == losses[1].keys()
    for key, value in losses[0].items():
        assert torch.allclose(value, losses[1][key], atol=1e-5), key
    predicted = [m.eval().predict(batch.target.x) for m in (plain, renamed)]
    assert torch.allclose(predicted[0][:, order], predicted[1], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OF_CLASSES if "vectors" in METHODS[name].reads])
def test_every_method_learns_the_textures(name, tmp_path):
    # Four images a batch: means of kernels over so few rows are noise, which at full weight leaves no class.
    weight = " weight=0.01" if name == "mfsan" else ""
    config = TrainConfig(
        data="amazon", recipe="to-books", method=name, profile="tiny", steps=60, labels=6,
        learning_rate=0.01, ema=0.9, overrides=f"hidden=32-16{weight}", out=str(tmp_path),
    )  # fmt: skip
    trainer = Trainer(config, toy_classes((100, 1, 1)))
    for _ in range(60):
        trainer.update()
    test = trainer.task.test
    accuracy = (trainer.predict(test.images.float()).argmax(1).flatten() == test.labels).float().mean()
    assert accuracy >= 0.8  # chance is 1/3


# --- a class is a mask of one place ----------------------------------------------------------------------


def two(z: Tensor, dim: int = 1) -> Tensor:
    """Logits of background and object that say what a mask's logit z says."""
    return torch.cat((-z / 2, z / 2), dim)


Z = torch.randn(3, 8, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
Y = (torch.arange(8) % 3 == 0).long()
WEIGHTS = torch.softmax(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)).double(), 1)


def test_two_classes_are_the_mask_of_one_place():
    z, halves = Z[0], two(Z[0])
    assert torch.allclose(probabilities(halves)[:, 1:], probabilities(z))
    assert torch.allclose(log_probabilities(halves), log_probabilities(z))
    assert torch.allclose(entropy(halves), entropy(z))
    for mine, masks in zip(certain(halves), certain(z), strict=True):
        assert torch.allclose(mine, masks)
    labels = Y[:, None, None]
    assert torch.allclose(label_losses(halves, labels), label_losses(z, labels))
    bce = F.binary_cross_entropy_with_logits(z.flatten(), Y.double())
    problem = Classification(("background", "object"))
    assert torch.allclose(problem.loss(halves, Y), bce)
    for power in (1, 2):
        assert torch.allclose(disagreement(two(Z, 2), power), disagreement(Z, power))
    for weights in (None, WEIGHTS):
        both = mixture(two(Z, 2), weights)
        assert torch.allclose(both[:, 1:] - both[:, :1], mixture(Z, weights))
    assert torch.allclose(pseudo_loss(two(Z, 2), WEIGHTS, 0.7), pseudo_loss(Z, WEIGHTS, 0.7))
    shares = problem.shares(Y.view(2, 4))[:, 1:].double()
    assert torch.allclose(shares, Segmentation().shares(Y.double().view(2, 4, 1, 1, 1)))


def test_plus_weighs_sources_of_two_classes_as_those_of_masks():
    """Consensus, agreement and the heads' mean: one rule for both."""
    masks, classes = (
        build("mstl_plus", 3, False, "hidden=8 depth=2", problem, width=4)
        for problem in (Segmentation(), Classification(("a", "b"), (4, 1, 1)))
    )
    y = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 0], [1, 1, 0, 0]])
    z = Z.float()
    for step in range(3):
        masks._estimate(SimpleNamespace(source_y=y[..., None, None, None].float()), list(z + step))
        classes._estimate(SimpleNamespace(source_y=y), list(two(z + step, 2)))
    assert torch.allclose(masks.weights, classes.weights, atol=1e-6)
    assert not torch.allclose(masks.weights, torch.full((3,), 1 / 3))
    strengths = [method.strength(0.5) for method in (masks, classes)]
    assert torch.allclose(*strengths, atol=1e-6)
    assert torch.allclose(two(masks.over_heads(z)), classes.over_heads(two(z, 2)), atol=1e-6)


# --- limits of what logits say -----------------------------------------------------------------------------

CERTAIN = torch.tensor([1e4, -1e4])[:, None, None, None, None]  # two heads that contradict each other
ALIKE = torch.tensor([50.0, 50.0])[:, None, None, None, None]  # 1 in float32, and yet less than certain


@pytest.mark.parametrize("form", [lambda z: z, lambda z: two(z, 2)], ids=["masks", "classes"])
def test_certain_predictions_stay_finite_and_keep_their_gradient(form):
    z = CERTAIN.clone().requires_grad_()
    mixed = mixture(form(z))
    assert torch.allclose(probabilities(mixed), torch.full_like(mixed, 0.5))
    assert torch.autograd.grad(mixed.sum(), z)[0].isfinite().all()
    alike = ALIKE.clone().requires_grad_()
    mixed = mixture(form(alike))
    odds = mixed[:, -1] - (mixed[:, 0] if mixed.shape[1] > 1 else 0)
    assert torch.allclose(odds, ALIKE[0, :, 0])
    assert torch.allclose(torch.autograd.grad(odds.sum(), alike)[0], torch.full_like(ALIKE, 0.5))
    for values in (entropy(form(z)[0]), disagreement(form(z), 2), log_probabilities(form(z)[0])):
        assert values.isfinite().all()
    assert float(entropy(form(z)[0]).detach()) == 0
    assert float(disagreement(form(z), 1).detach()) == 1


@pytest.mark.parametrize("form", [lambda z: z, lambda z: two(z, 2)], ids=["masks", "classes"])
def test_one_head_or_one_weight_is_that_head_and_nobody_disagrees_alone(form):
    z = form(Z)
    assert torch.allclose(probabilities(mixture(z[:1])), probabilities(z[0]))
    for j in range(3):
        one_hot = torch.zeros(8, 3, dtype=torch.float64)
        one_hot[:, j] = 1
        assert torch.allclose(probabilities(mixture(z, one_hot)), probabilities(z[j]))
    assert disagreement(z[:1], 2) == 0
    assert torch.allclose(disagreement(torch.stack((z[0], z[0])), 1), torch.zeros((), dtype=torch.float64))


def test_what_logits_say_is_float32_also_of_half_precision():
    z = two(Z, 2).bfloat16()
    assert {f(z[0]).dtype for f in (probabilities, log_probabilities, entropy)} == {torch.float32}
    assert mixture(z).dtype == disagreement(z, 1).dtype == torch.float32
    assert Classification(("a", "b")).loss(z[0], Y).dtype == torch.float32


# --- losses ----------------------------------------------------------------------------------------------

LOSSES = {
    "classes": (Classification(("a", "b", "c")), torch.randn(6, 3, 1, 1).double(), torch.arange(6) % 3),
    "masks": (Segmentation(), torch.randn(6, 1, 4, 4).double(), (torch.rand(6, 1, 4, 4) > 0.5).double()),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_weights_of_images_are_factors_of_their_terms(kind):
    problem, z, y = LOSSES[kind]
    plain = problem.loss(z, y)
    assert torch.allclose(problem.loss(z, y, torch.ones(6).double()), plain)
    kept = torch.tensor([1.0, 0, 1, 1, 0, 1]).double()
    some = kept.bool()
    assert torch.allclose(problem.loss(z, y, kept), problem.loss(z[some], y[some]) * 4 / 6)
    each = torch.stack([problem.loss(z[i : i + 1], y[i : i + 1]) for i in range(6)])
    weights = torch.rand(6).double()
    assert torch.allclose(problem.loss(z, y, weights), (weights * each).mean())
    assert problem.loss(z[:0], y[:0]) == 0


def test_shares_are_those_of_the_labels():
    y = torch.tensor([[0, 0, 1, 2], [2, 2, 2, 2]])
    shares = Classification(("a", "b", "c")).shares(y)
    assert torch.equal(shares, torch.tensor([[0.5, 0.25, 0.25], [0, 0, 1.0]]))


def test_the_table_of_a_run_says_what_was_right():
    task = toy_classes((12, 1, 1))
    z = torch.randn(len(task.test), 3, 1, 1, generator=torch.Generator().manual_seed(0))
    table = task.problem.table(z, task.test)
    assert [*table] == ["car", "view", "class", "predicted", "accuracy", "probability"]
    right = z.argmax(1).flatten() == task.test.labels
    assert [*table["accuracy"].astype(bool)] == right.tolist()
    assert [*(table["class"] == table["predicted"])] == right.tolist()
    rows = torch.arange(len(z))
    np.testing.assert_allclose(table["probability"], z.softmax(1)[rows, task.test.labels.long(), 0, 0], 1e-6)


# --- runs ------------------------------------------------------------------------------------------------


def config(tmp_path, **options) -> TrainConfig:
    small = {"data": "amazon", "recipe": "to-books", "profile": "tiny", "overrides": "hidden=16-8"}
    return TrainConfig(**small | {"steps": 12, "out": str(tmp_path)} | options)


def test_a_teacher_teaches_classes(tmp_path):
    trainer = Trainer(config(tmp_path, method="source_combine", mean_teacher=1.0), toy_classes((12, 1, 1)))
    batch = trainer._taught(trainer.batches.at(0))
    assert batch.target.taught.shape == (2, 3, 1, 1)
    assert torch.allclose(batch.target.taught.sum(1), torch.ones(()))
    losses = [trainer.update()["consistency"] for _ in range(8)]
    assert losses[0] == 0 and losses[-1] > 0  # one network at first, and a ramp


@pytest.mark.parametrize("method", OURS)
def test_a_run_on_classes_resumes_to_bit_identical_weights(method, tmp_path):
    task = toy_classes((12, 1, 1))

    class Stopped(Exception):
        pass

    def stop(trainer):
        if trainer.step == 10:
            raise Stopped

    whole, broken = (config(tmp_path / name, method=method) for name in ("whole", "broken"))
    train(whole, task=task)
    # The checkpoint of step 10 is written after the line that stops the run, so the one from before counts.
    with pytest.raises(Stopped):
        train(broken, stop, task=task)
    train(broken, task=task)
    states = [torch.load(c.folder / "checkpoint.pt", weights_only=True) for c in (whole, broken)]
    for part in ("method", "averaged"):
        assert all(torch.equal(value, states[1][part][key]) for key, value in states[0][part].items())
    tables = [(c.folder / "images.csv").read_bytes() for c in (whole, broken)]
    assert tables[0] == tables[1]


def test_the_fingerprint_is_another_with_one_label_or_one_name_of_a_class_changed():
    task = toy_classes((12, 1, 1))
    source = task.sources[0]
    labels = source.labels.clone()
    labels[0] = (labels[0] + 1) % 3
    changed = [replace(source, labels=labels), replace(source, classes=("NA", "c", "b"))]
    prints = {domain.fingerprint() for domain in (source, *changed)}
    assert len(prints) == 3
    other = replace(task, sources=(changed[0], *task.sources[1:]))
    assert other.fingerprint() != task.fingerprint()


# --- bad input -------------------------------------------------------------------------------------------

VECTORS = toy_classes((12, 1, 1))
BAD = {
    "no labels": (lambda: made("target_only", (12, 1, 1), labelled=False), "labels must be ≥ 1"),
    "an MLP of images": (
        lambda: made("mstl", (3, 28, 28), "encoder=mlp"),
        "encoder=mlp does not read images",
    ),
    "a U-Net of vectors": (lambda: made("dann", (12, 1, 1), "encoder=unet"), "does not read vectors"),
    "a LeNet of vectors": (lambda: made("dann", (12, 1, 1), "encoder=lenet"), "does not read vectors"),
    "a LeNet for masks": (
        lambda: build("dann", 3, True, "encoder=lenet"),
        "encoder=lenet gives classes, not masks",
    ),
    "a network of timm's for vectors": (
        lambda: made("dann", (12, 1, 1), "encoder=resnet18"),
        "does not read vec",
    ),
    "a stem of an MLP": (lambda: made("mstl", (12, 1, 1), "stem=1"), "needs the U-Net encoder"),
    "pasted classes": (lambda: made("mstl_plus", (12, 1, 1), "paste=true"), "paste=true .* of classes there"),
    "units that are none": (lambda: made("mdan_soft", (12, 1, 1), "hidden=abc"), "joined by hyphens"),
    "no units": (lambda: made("mdan_soft", (12, 1, 1), "hidden=0"), "joined by hyphens"),
    "other classes": (
        lambda: replace(VECTORS, sources=(textures("odd", 6, (12, 1, 1), ("NA", "b", "z"), 0),)),
        "'odd' has other classes than the task; it lacks c; the task does not know z",
    ),
    "classes in another order": (
        lambda: replace(VECTORS, test=textures("odd", 6, (12, 1, 1), ("b", "NA", "c"), 0)),
        "their order differs",
    ),
    "masks for a task of classes": (
        lambda: replace(VECTORS, test=toy_task().test),
        "has no classes; a classification needs them",
    ),
    "classes for a task of masks": (
        lambda: replace(toy_task(), test=toy_classes((3, 32, 48)).test),
        "has no masks; a segmentation needs them",
    ),
    "one class": (lambda: Classification(("a",)), "two classes at least; got a"),
    "a class twice": (lambda: Classification(("a", "a")), "two classes have one name"),
    "NaN": (
        lambda: replace(VECTORS.test, images=torch.full((10, 12, 1, 1), torch.nan)),
        "vector 0 holds a number that is not finite",
    ),
    "labels beyond the classes": (
        lambda: replace(VECTORS.test, labels=torch.full((10,), 3, dtype=torch.uint8)),
        "labels are indices of its 3 classes.* found label 3",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_line(what):
    make, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": "encoder=unet"}, "does not read vectors"),
        ({"overrides": "hidden=abc"}, "joined by hyphens"),
        ({"method": "mstl_plus", "overrides": "paste=true"}, "of classes there is none"),
    ],
)
def test_what_cannot_be_trained_on_classes_leaves_no_run(options, message, tmp_path):
    wrong = config(tmp_path, **options)
    with pytest.raises(InputError, match=message):
        train(wrong, task=VECTORS)
    assert not list(wrong.folder.glob("*.json"))
