"""What every method of the catalogue promises the loop, the log and the tables."""

import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from conftest import OF_MASKS, toy_task
from small import batch_of
from torch.nn.modules.batchnorm import _BatchNorm

from mstl.methods import METHODS, Entry, build, catalogue, find, register
from mstl.methods.base import Method
from mstl.nn import SOURCE, TARGET
from mstl.nn.unet import DomainNorm
from mstl.problems import Classification
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer
from mstl.system.errors import InputError

EVERY = pytest.mark.parametrize("name", OF_MASKS)
TRANSFER = pytest.mark.parametrize(
    "name", [name for name in OF_MASKS if name not in ("target_only", "oracle")]
)
IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def made(name, labelled=True, overrides="", sources=3) -> Method:
    torch.manual_seed(0)
    return build(name, sources, labelled, f"depth=3 {overrides}", width=4)


@EVERY
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_losses_are_finite_scalars_and_predictions_fit_the_image(name, sources):
    method = made(name, sources=sources)
    losses = method.losses(batch_of(toy_task(sources)), 0.5)
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    assert method.predict(torch.zeros(2, 3, 32, 48)).shape == (2, 1, 32, 48)
    heads = method.head_logits(torch.zeros(2, 3, 32, 48))
    assert heads is None or heads.shape == (sources, 2, 1, 32, 48)


@EVERY
def test_observing_changes_nothing(name):
    overrides = "with_labels=true agreement=false" if name == "mstl_plus" else ""
    method, batch = made(name, overrides=overrides), batch_of(toy_task())
    method.train().losses(batch, 0.6)
    method.eval()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    seen = method.observe(batch, 0.6)
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in before.items())
    assert all(p.grad is None for p in method.parameters())
    assert ("gradient_ratio" in seen) == bool(method.aligns)
    assert seen.get("gradient_ratio", 1) > 0
    assert ("discriminator_accuracy" in seen) == bool(method.discriminator_parameters())
    assert 0 <= seen.get("discriminator_accuracy", 0) <= 1


@EVERY
def test_what_aligns_is_a_loss_that_no_target_mask_decides(name):
    method, batch = made(name), batch_of(toy_task())
    losses = method.losses(batch, 0.5)
    assert set(method.aligns) <= set(losses) - {"source"}
    assert not any(key.startswith("target") for key in method.aligns)


@EVERY
def test_consistency_is_a_name_that_belongs_to_the_teacher(name):
    # The loop replaces its own comparison with the teacher by a loss of this name.
    assert "consistency" not in made(name).losses(batch_of(toy_task()), 0.5)


def listened(method) -> dict[DomainNorm, set[int]]:
    """For each layer the domains whose statistics it was asked to use, filled as it is called."""
    asked = defaultdict(set)
    for module in method.modules():
        if isinstance(module, DomainNorm):
            module.register_forward_pre_hook(lambda layer, args: asked[layer].add(args[1]))
    return asked


def statistics(method) -> dict[int, list[torch.Tensor]]:
    layers = [module for module in method.modules() if isinstance(module, DomainNorm)]
    return {
        domain: [
            getattr(layer.norms[domain], kind).clone()
            for layer in layers
            for kind in ("running_mean", "running_var")
        ]
        for domain in (SOURCE, TARGET)
    }


def changed(before, after) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]


@EVERY
@pytest.mark.parametrize("source_size", [(16, 24), (32, 48)])  # apart, and of one size with the target
@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.trust(
    "limits",
    "With norm=domain images of the sources change the statistics of the sources alone and images of the "
    "target those of the target alone, for every method.",
)
def test_each_domain_changes_its_own_statistics_alone(name, labels, source_size):
    if METHODS[name].needs_labels and not labels:
        pytest.skip("needs labels")
    labelled = labels > 0 or name == "oracle"
    batch = batch_of(toy_task(labels=labels or 4 * labelled, source_size=source_size))

    def after(batch):
        method = made(name, labelled, "norm=domain").train()
        method.losses(batch, 0.7)
        return statistics(method)

    def noisy(images):
        return images + torch.randn(images.shape, generator=torch.Generator().manual_seed(1))

    plain = after(batch)
    other_sources = after(replace(batch, source_x=noisy(batch.source_x)))
    other = replace(batch.target, x=noisy(batch.target.x))
    other_target = after(replace(batch, targets=(other,) * batch.J))
    learns_from_sources, sees_target = name not in ("target_only", "oracle"), name != "source_only"
    assert any(changed(plain[SOURCE], other_sources[SOURCE])) == learns_from_sources
    assert not any(changed(plain[TARGET], other_sources[TARGET]))
    assert not any(changed(plain[SOURCE], other_target[SOURCE]))
    pooling = ("source_combine", "pooled_ensemble", "multi_head", "positive_unlabelled")
    if labelled or name not in pooling:  # they look at labelled images alone
        assert any(changed(plain[TARGET], other_target[TARGET])) == sees_target


@TRANSFER
def test_what_is_predicted_and_compared_is_normalised_by_its_own_domain(name):
    method = made(name, overrides="norm=domain").eval()
    asked = listened(method)
    method.predict(IMAGES)
    assert set().union(*asked.values()) == {TARGET}
    for domain in (SOURCE, TARGET):
        asked.clear()
        if method.source_features(IMAGES, 1, domain) is not None:
            assert set().union(*asked.values()) == {domain}


@TRANSFER
def test_domains_normalised_apart_can_be_observed_without_target_masks(name):
    method, batch = made(name, False, "norm=domain"), batch_of(toy_task(labels=0))
    for training in (True, False):
        seen = method.train(training).observe(batch, 0.5)
        assert all(value.isfinite() for value in seen.values())


def test_a_method_that_does_not_say_whose_images_it_shows_is_refused_and_not_guessed_at():
    class Forgetful(find("source_combine")):
        def predict(self, images):
            return self.network(images).logits

    for norm in ("group", "batch"):
        assert made_from(Forgetful, norm).predict(IMAGES).shape == (2, 1, 32, 48)
    with pytest.raises(InputError, match="norm=domain needs to know whose images"):
        made_from(Forgetful, "domain").predict(IMAGES)


def made_from(kind, norm):
    return kind(kind.Hyperparameters(width=4, depth=3, norm=norm), 3, True)


def test_no_part_of_a_network_normalises_by_batches_where_domains_have_their_own():
    for name in OF_MASKS:
        method = made(name, overrides="norm=domain")
        own = {norm for layer in method.modules() if isinstance(layer, DomainNorm) for norm in layer.norms}
        rest = [key for key, m in method.named_modules() if isinstance(m, _BatchNorm) and m not in own]
        assert all(key.startswith(("fusions", "predictor")) for key in rest), rest  # of the target alone


# --- the catalogue ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_catalogue_names_a_method_that_is_there(name):
    kind = find(name)
    assert issubclass(kind, Method) and kind.__module__ == METHODS[name].location
    assert kind.__name__ == METHODS[name].kind


def test_the_catalogue_needs_no_torch_and_a_method_no_other():
    code = (
        "import sys; from mstl.methods import METHODS, check, find; check('mstl'); "
        "assert 'torch' not in sys.modules; find('target_only'); "
        "print(*(m for m in sys.modules if m.startswith('mstl.methods.')))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "mstl.methods.target_only" in found
    assert not {f"mstl.methods.{name}" for name in ("mstl", "dann", "mfsan", "oracle")} & set(found.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("target_only", 3, False),
            "target_only learns from labelled target images alone: labels must be ≥ 1",
        ),
        (
            ("masks_only", 3, True, "", Classification(("a", "b"))),
            "masks_only does no classification; it does segmentation",
        ),
        (("mslt", 3, True), "method 'mslt' is unknown; choose from target_only, "),
        ((None, 3, True), "method None is unknown"),
        ((["mstl"], 3, True), "is unknown"),
    ],
)
def test_what_a_method_cannot_do_is_said_in_one_line(arguments, message, monkeypatch):
    alone = Entry("masks_only", "DANN", "masks only", module="mstl.methods.dann", problems=("segmentation",))
    monkeypatch.setitem(METHODS, "masks_only", alone)
    with pytest.raises(InputError, match=message) as caught:
        build(*arguments)
    assert "\n" not in str(caught.value)


def test_what_needs_labels_is_refused_before_data_is_read(tmp_path, monkeypatch):
    from mstl.run.train import train

    monkeypatch.setattr(TrainConfig, "task", lambda self: pytest.fail("data was read"))
    with pytest.raises(InputError, match="labels must be ≥ 1"):
        train(TrainConfig(method="target_only", labels=0, profile="tiny", out=str(tmp_path)))


def test_every_method_that_says_it_needs_labels_does_and_no_other():
    for name in OF_MASKS:
        batch = batch_of(toy_task(labels=0))
        if not METHODS[name].needs_labels and name != "oracle":  # which labels all images itself
            assert made(name, labelled=False).losses(batch, 0.5)["source"].isfinite()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A method in a file of the user's, registered and forgotten again."""
    text = "from mstl.methods.source_combine import SourceCombine\nclass Own(SourceCombine):\n    pass\n"
    (tmp_path / "own_method.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(METHODS)
    yield Entry("own", "Own", "my own", "#123456", "h", module="own_method")
    METHODS.clear()
    METHODS.update(before)
    sys.modules.pop("own_method", None)


def test_a_method_of_ones_own_is_entered_in_one_line(own, tmp_path):
    register(own)
    register(own)  # a cell that runs twice
    assert find("own").__module__ == "own_method"
    assert list(METHODS)[-2:] == ["own", "oracle"]
    config = TrainConfig(method="own", profile="tiny", labels=4, steps=2, out=str(tmp_path))
    assert Trainer(config, toy_task()).update()["source"].isfinite()
    assert catalogue.described("own").title == "my own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "mstl"}, "method mstl exists already"),
        ({"name": "My-Own"}, "a name is lower-case"),
        ({"role": "winner"}, "choose from reference, rival, ours"),
        ({"module": "nowhere"}, "nowhere with a class Own cannot be imported"),
        ({"kind": "Other"}, "own_method with a class Other cannot be imported"),
    ],
)
def test_a_wrong_entry_is_one_clear_error(own, change, message):
    with pytest.raises(InputError, match=message):
        register(replace(own, **change))
        find("own")
