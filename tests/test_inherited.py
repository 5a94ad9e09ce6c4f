"""PP + P-SSL, distillation and the CVAE they inherit from: numbers, limits, and no source image is seen."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from conftest import toy_classes
from small import close, gradients, whole_and_resumed
from test_golden import det
from test_golden_family import agree
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

import plan
from mstl.data.augment import Augment, to_float, to_pixels
from mstl.data.batches import Batches
from mstl.methods import METHODS as CATALOGUE
from mstl.methods import build, configured, find
from mstl.nn.agreement import confident, fixmatch_consistency, uda_consistency
from mstl.nn.generator import Generator, Recogniser, divergence, mixed, negative_elbo
from mstl.run.checkpoint import load_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.inference import load_method
from mstl.run.names import Variant
from mstl.run.train import Trainer, train
from mstl.system.errors import InputError

SHAPE = (3, 32, 32)
TABLE, LOGITS = det(4, 3, 0.2, 1, 0), det(3, 4, 0.3, 2, 0)
WEAK, STRONG, BETA, TAU = det(5, 4, 0.2, 3, 0), det(5, 4, 1.2, 2, 0.1), 0.8, 0.4


# --- numbers ------------------------------------------------------------------------------------------------


def test_conditions():
    agree(mixed(TABLE, LOGITS.softmax(1)), "pssl", "soft_condition")
    agree(mixed(TABLE, F.one_hot(LOGITS.argmax(1), 4)), "pssl", "hard_condition")


def test_consistency():
    agree(confident(WEAK, BETA), "pssl", "mask")
    strong = STRONG.clone().requires_grad_()
    loss = uda_consistency(WEAK, strong, BETA, TAU)
    agree(loss, "pssl", "uda_kl_mean_over_batch")
    agree(loss * 5 / confident(WEAK, BETA).sum(), "pssl", "uda_kl_mean_over_selected")
    agree(fixmatch_consistency(WEAK, strong, BETA), "pssl", "fixmatch_hard")
    supervised = F.cross_entropy(det(5, 4, 2.1, 2, 0), torch.tensor([0, 1, 2, 3, 0]))
    agree(supervised + loss, "pssl", "pssl_total")
    (gradient,) = torch.autograd.grad(loss, strong)
    agree(gradient[0], "pssl", "uda_grad_strong_logits")


def test_the_target_of_the_consistency_sends_no_gradient():
    weak, strong = WEAK.clone().requires_grad_(), STRONG.clone().requires_grad_()
    (uda_consistency(weak, strong, 0, TAU) + fixmatch_consistency(weak, strong, 0)).backward()
    assert weak.grad is None and strong.grad.abs().max() > 0


def test_limits_of_the_consistency():
    assert uda_consistency(WEAK, WEAK / TAU, 0, TAU).item() == pytest.approx(0, abs=1e-12)
    assert uda_consistency(WEAK, STRONG, 1, TAU) == 0  # nobody is that sure
    cold = uda_consistency(WEAK, STRONG, BETA, 1e-3)  # sharpened to the end it is FixMatch's
    assert cold.item() == pytest.approx(fixmatch_consistency(WEAK, STRONG, BETA).item(), rel=1e-6)


def test_cross_entropy_differs_by_the_entropy_of_the_target_which_no_gradient_sees():
    q = (WEAK / TAU).softmax(1)
    entropies = torch.special.entr(q).sum(1)
    loss = uda_consistency(WEAK, STRONG, BETA, TAU) + (confident(WEAK, BETA) * entropies).mean()
    agree(loss, "pssl", "uda_ce_mean_over_batch")


def test_how_often_a_run_is_logged_changes_nothing():
    """Though what is logged of drawn images is drawn, too."""
    weights = []
    for often in (2, 10):
        values = SMALL | {"steps": 10, "labels": 4, "overrides": "encoder=lenet own=0.2 first=0.2"}
        trainer = Trainer(TrainConfig(method="pp_pssl", **values), other())
        for step in range(1, 11):
            trainer.record.add(trainer.update())
            if step % often == 0:
                trainer._log_line()
        weights.append([p.clone() for p in trainer.method.parameters()])
    assert close(*weights, 0)


# --- the generator ------------------------------------------------------------------------------------------


def test_the_bound_is_that_of_torchs_distributions():
    torch.manual_seed(0)
    generator = Generator(3, (1, 5, 4), latent=2, condition=3, units=7)
    recogniser = Recogniser(generator, 7)
    y = torch.tensor([0, 2, 1, 1])
    x = torch.rand(4, 1, 5, 4) * 4 - 2
    torch.manual_seed(1)
    found = negative_elbo(generator, recogniser, x, y)
    mean, log_variance = recogniser(x, generator.embedding(y))
    torch.manual_seed(1)
    z = mean + (log_variance / 2).exp() * torch.randn(mean.shape)
    p = Bernoulli(logits=generator.logits(z, F.one_hot(y, 3).float()), validate_args=False)
    kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    bound = p.log_prob((x + 2) / 4).flatten(1).sum(1) - kl
    assert found.item() == pytest.approx(-bound.mean().item(), rel=1e-5)
    assert divergence(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


def test_a_mixture_of_one_class_is_that_class_and_what_is_drawn_is_an_input():
    torch.manual_seed(0)
    generator = Generator(3, SHAPE, units=8)
    z, one = torch.randn(3, generator.latent), torch.eye(3)
    by_row = torch.cat((z, generator.embedding(torch.arange(3))), 1)
    expected = 4 * generator.layers(by_row).sigmoid().view(3, *SHAPE) - 2
    assert torch.allclose(generator(z, one), expected, atol=1e-6)
    drawn = generator.draw(torch.full((5, 3), 1 / 3))
    assert drawn.shape == (5, *SHAPE) and drawn.abs().max() <= 2
    pixels = torch.randint(0, 256, (2, *SHAPE), dtype=torch.uint8)
    assert torch.equal(to_pixels(to_float(pixels)), pixels)


@pytest.mark.parametrize("name", ["cvae", "pp_pssl", "distillation", "glomo"])
def test_vectors_are_no_images(name):
    with pytest.raises(InputError, match=f"method {name} reads images.*, and these are vectors"):
        build(name, 3, True, "", toy_classes((9, 1, 1)).problem)


@pytest.mark.long
def test_an_independent_classifier_recognises_what_is_drawn(tmp_path):
    """Digits in typefaces with serifs are drawn; who judges has learned those without."""
    common = {
        "data": "digits",
        "labels": 0,
        "profile": "digits",
        "out": str(tmp_path),
        "precision": "32-true",
    }
    drawing = train(TrainConfig(recipe="serif-to-handwritten", method="cvae", **common))
    judging = train(TrainConfig(recipe="sans-to-handwritten", method="source_combine", **common))
    classes = torch.arange(10).repeat(100)
    torch.manual_seed(0)
    found = load_method(judging).predict(load_method(drawing).draw(classes)).flatten(1).argmax(1)
    assert (found == classes).float().mean() >= 0.9


# --- what inherits ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A CVAE of three classes of which the target has other two."""
    out = tmp_path_factory.mktemp("source")
    config = TrainConfig(method="cvae", out=str(out), overrides="units=16 encoder=lenet", **SMALL)
    return train(config, task=toy_classes(SHAPE))


SMALL = {
    "data": "digits",
    "recipe": "serif-to-handwritten",
    "profile": "tiny",
    "steps": 4,
    "precision": "32-true",
    "device": "cpu",
}


def other(labels=4):
    """A task of other classes."""
    return toy_classes(SHAPE, classes=2, labels=labels)


def made(name, run, overrides=""):
    torch.manual_seed(0)
    options = {"width": 4, "weights_dir": str(run.parent)}
    return build(name, 3, True, f"generator={run.name} {overrides}", other().problem, **options).train()


def batch(task=None):
    return next(Batches(task or other(), batch_size=3, target_batch_size=8, augment=Augment.none()))


METHODS = pytest.mark.parametrize("name", ["pp_pssl", "distillation"])


@METHODS
def test_other_classes_are_no_obstacle_and_no_source_image_is_seen(name, run):
    one, two = batch(), batch()
    two.source_x.mul_(-3)
    two.target.x[len(two.target.y) :].mul_(-3)
    for progress in (0.1, 0.9):
        method = made(name, run)
        torch.manual_seed(1)
        first = method.losses(one, progress)
        torch.manual_seed(1)
        assert all(torch.equal(v, first[k]) for k, v in method.losses(two, progress).items())
    assert method.inherited.classes == len(toy_classes(SHAPE).problem.classes)
    assert method.predict(one.target.x).shape == (8, 2, 1, 1)


@METHODS
def test_what_is_inherited_stands_still_and_is_the_runs(name, run):
    method = made(name, run)
    theirs = load_method(run).state_dict()
    own = {k: v for k, v in method.inherited.model.state_dict().items()}
    assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)
    assert not any(p.requires_grad for p in method.inherited.parameters())
    assert not method.inherited.model.training


def test_the_stages_of_pp_pssl(run):
    method, b = made("pp_pssl", run), batch()
    before, after = method.losses(b, 0.39), method.losses(b, 0.4)
    assert before["pretraining"] > 0 == before["target"] == before["pseudo"]
    assert after["target"] > 0 == after["pretraining"]
    assert before.keys() == after.keys()
    head = gradients(method.network.predictor, before["pretraining"] + 0 * method.predict(b.target.x).sum())
    assert not any(g.any() for g in head)  # the target's head learns nothing from the source's classes


@pytest.mark.parametrize(("name", "off"), [("pp_pssl", "first=0 weight=0"), ("distillation", "weight=0")])
def test_without_what_is_inherited_it_is_training_on_the_labelled_images(name, off, run):
    method, b = made(name, run, off), batch()
    plain = build("target_only", 3, True, "", other().problem, width=4).train()
    plain.network.load_state_dict(method.network.state_dict())
    mine, theirs = (
        gradients(m.network, torch.stack(tuple(m.losses(b, 0.0).values())).sum()) for m in (method, plain)
    )
    assert close(mine, theirs)


def test_conditions_follow_the_target_or_do_not(run):
    b = batch()
    soft, hard, random = (made("pp_pssl", run, f"condition={c}").conditions(b.target.x) for c in
                          ("soft", "hard", "random"))  # fmt: skip
    assert torch.allclose(soft.sum(1), torch.ones(8)) and set(hard.unique().tolist()) == {0, 1}
    assert torch.equal(soft.argmax(1), hard.argmax(1))
    assert random.shape == soft.shape and set(random.sum(1).tolist()) == {1}


def test_a_threshold_that_nobody_passes_is_said_and_trains_on(run, capsys):
    method, b = made("pp_pssl", run, "threshold=0.999"), batch()
    assert method.losses(b, 0.9)["pseudo"] == 0
    method.eval()
    method.adapt({k: v.item() for k, v in method.observe(b, 0.9).items()})
    assert "nobody is confident" in capsys.readouterr().err


def test_soft_and_logit_matching_are_least_where_student_and_teacher_agree(run):
    for match in ("soft", "logits"):
        method = made("distillation", run, f"match={match} temperature=2")
        student = LOGITS.clone().float().requires_grad_()
        loss = method.distance(LOGITS.float(), student)
        (gradient,) = torch.autograd.grad(loss, student)
        assert loss.item() == pytest.approx(0, abs=1e-7) and gradient.abs().max() < 1e-6
    shifted = made("distillation", run).distance(LOGITS.float(), LOGITS.float() + 2)
    assert shifted.item() == pytest.approx(0, abs=1e-5)  # probabilities know no offset, logits do


def test_hot_soft_targets_are_logit_matching(run):
    """To first order in 1/τ, for logits of mean 0, divided by K (Hinton et al., section 2.1)."""
    teacher, student = (x.float() - x.float().mean(1, keepdim=True) for x in (LOGITS, det(3, 4, 1.1, 2, 0)))
    hot = made("distillation", run, "temperature=300").distance(teacher, student)
    matched = made("distillation", run, "match=logits").distance(teacher, student)
    assert hot.item() == pytest.approx(matched.item() / 4, rel=2e-2)


@pytest.mark.parametrize("method", list(CATALOGUE))
def test_the_workflow_knows_every_override_that_names_a_folder_of_weights(method, run):
    """Those whose file changes the run's fingerprint; a run that it does not know of is trained forever."""
    read = set()
    for field in fields(find(method).Hyperparameters):
        if not isinstance(field.default, str) or field.name == "weights_dir":
            continue
        overrides = f"{field.name}={run.name}"
        try:
            found = configured(method, overrides, weights_dir=str(run.parent)).weights_fingerprint()
        except InputError:
            continue  # a word of a list, or another kind of name
        read |= {field.name} if found else set()
        assert bool(found) == (Variant.of(method, overrides, None, None).folders == [run.name])
        assert plan.weights(method, overrides, str(run.parent)) == found
    assert Variant.of(method, "weights=own", None, None).folders == ["own"]  # a folder of that name
    assert read or method == "glomo"  # which has no encoder


@pytest.mark.parametrize("generator", ["own", "run"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(generator, run, tmp_path):
    if generator == "run":
        overrides, where = f"generator={run.name}", str(run.parent)
    else:
        overrides, where = "encoder=lenet", "."

    def config(name):
        values = SMALL | {"steps": 20, "labels": 4, "weights_dir": where}
        return TrainConfig(method="pp_pssl", out=str(tmp_path / name), overrides=overrides, **values)

    whole, resumed = whole_and_resumed(config, 15, other())
    one, two = (load_checkpoint(folder / "checkpoint.pt")["method"] for folder in (whole, resumed))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_generator_of_its_own_learns_first_and_then_stands_still(tmp_path):
    values = SMALL | {"steps": 10, "labels": 4}
    trainer = Trainer(TrainConfig(method="pp_pssl", overrides="encoder=lenet", **values), other())

    def state():
        return [p.clone() for p in trainer.method.inherited.parameters()]

    states = [state()]
    for _ in range(3):
        for _ in range(4 if len(states) == 1 else 3):
            trainer.update()
        states.append(state())
    assert (
        not close(states[0], states[1]) and close(states[1], states[2], 0) and close(states[2], states[3], 0)
    )


@METHODS
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("generator=nothing", "is not a folder"),
        ("generator=imagenet", "generator=imagenet is no finished run; name own, or the folder"),
        ("generator=plain", "is a run of method target_only, which draws nothing; name one of method cvae"),
        ("generator=small", r"draws images of 3×16×16, and those of this task are 3×32×32"),
        ("own=0", "own"),
        ("temperature=0", "temperature=0.0 must be > 0"),
    ],
)
def test_bad_input(name, overrides, message, run):
    for folder, method, shape in (("plain", "target_only", SHAPE), ("small", "cvae", (3, 16, 16))):
        if not (run.parent / folder).exists():
            config = TrainConfig(method=method, labels=4, out=str(run.parent / "more" / folder),
                                 overrides="encoder=lenet", **SMALL)  # fmt: skip
            (run.parent / folder).symlink_to(train(config, task=toy_classes(shape, labels=4)))
    with pytest.raises(InputError, match=message):
        build(name, 3, True, overrides, other().problem, width=4, weights_dir=str(run.parent))
