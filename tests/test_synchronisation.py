"""One target batch for all sub-networks, as they see it; and sub-networks that know their own source only."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch
from conftest import toy_task
from rearranged import OF_A_SOURCE
from small import batch_of, total

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.data.recipes.spoil import useless
from mstl.data.task import Task
from mstl.methods import build
from mstl.run.checkpoint import save_checkpoint
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

# Images of a source, of the target, and those of the target that have a mask: numbers tell what a batch is.
SOURCE, TARGET, LABELLED = 5, 3, 2


def trainer(folder, name, sources, overrides="", source_size=(16, 16), labels=4, task=None) -> Trainer:
    """The real loop on a small task, with augmentation."""
    config = TrainConfig(
        method=name, overrides=overrides, labels=labels, profile="tiny", out=str(folder), batch_size=SOURCE
    )
    task = task or toy_task(sources, labels, (16, 24), source_size)
    made = Trainer(config, task)
    made.batches = Batches(
        made.task,
        batch_size=SOURCE,
        target_batch_size=TARGET,
        synchronised=made.method.synchronised,
        seed=config.seed,
    )
    return made


def extractors(method):
    """What images enter first, of every sub-network."""
    networks = method.networks if hasattr(method, "networks") else method.subnetworks
    return [network.encoder for network in networks]


def listening(modules):
    """Lists that fill with what enters each of the modules, of several maps the coarsest."""
    heard = [[] for _ in modules]
    for module, notes in zip(modules, heard, strict=True):
        module.register_forward_pre_hook(
            lambda _, inputs, notes=notes: notes.append(
                inputs[0][-1] if isinstance(inputs[0], tuple) else inputs[0]
            )
        )
    return heard


def target_rows(images):
    """The target's images in what entered a sub-network; None where only a source did."""
    if len(images) == SOURCE + TARGET:  # source and target in one pass
        return images[SOURCE:]
    return images if len(images) <= TARGET else None


def seen(heard):
    """For each sub-network all target images that entered it, in order, and the lists are emptied."""
    found = []
    for notes in heard:
        rows = [target_rows(images) for images in notes]
        found.append(torch.cat([x.detach().clone() for x in rows if x is not None]))
        notes.clear()
    return found


def steps(made, heard, count):
    """What the sub-networks see in each of the next steps."""
    result = []
    for _ in range(count):
        made.update()
        result.append(seen(heard))
    return result


def assert_equal(left, right):
    assert len(left) == len(right)
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


SUB_NETWORKS = [
    ("mstl", ""),
    ("mstl", "fusion=mean attention=none heads_see_target=true"),
    ("mstl_plus", ""),  # with a teacher and pasted pieces
    ("mstl_plus", "with_labels=true attention=transferable paste=false"),
    ("pooled_ensemble", ""),
    ("dann_per_source", ""),
    ("consistency", ""),
]


@pytest.mark.trust(
    "synchronisation",
    "Pixel-identical target images enter all sub-networks in every step of training, with augmentation on, "
    "before and after a run is stopped and resumed; the resumed run sees what an uninterrupted one would.",
)
@pytest.mark.parametrize(
    ("sources", "source_size"),
    [(1, (16, 24)), (2, (16, 16)), (3, (16, 24)), (4, (16, 16))],  # in one pass with the target, or not
)
@pytest.mark.parametrize(("name", "overrides"), SUB_NETWORKS)
def test_all_sub_networks_see_the_same_target_pixels(
    name, overrides, sources, source_size, tmp_path, record_property
):
    made = trainer(tmp_path, name, sources, overrides, source_size)
    assert made.batches.augment == Augment()
    heard = listening(extractors(made.method))
    assert len(heard) == sources
    before = steps(made, heard, 1)
    save_checkpoint(tmp_path / "checkpoint.pt", made.state() | {"settings": {}})
    uninterrupted = steps(made, heard, 2)

    resumed = trainer(tmp_path, name, sources, overrides, source_size)
    identity = {"settings": {}, "data_fingerprint": None, "source_fingerprint": None}
    resumed.restore(tmp_path / "checkpoint.pt", identity)
    heard = listening(extractors(resumed.method))
    after = steps(resumed, heard, 2)
    for one, other in zip(after, uninterrupted, strict=True):
        assert_equal(one, other)
    every = before + after
    for step, images in enumerate(every):
        assert_equal(images, images[:1] * sources)
        # The pooled ensemble looks at labelled images alone; MSTL+ pastes pieces into the others.
        rows = LABELLED if (name, overrides) in (("pooled_ensemble", ""), ("mstl_plus", "")) else TARGET
        assert torch.equal(images[0][:rows], resumed.batches.at(step).target.x[:rows])
    for one, other in pairwise(every):
        assert not torch.equal(one[0], other[0])
    record_property("steps compared", len(every))


@pytest.mark.trust(
    "synchronisation",
    "Where the extractor is shared, every head reads the same features of the same target images.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "modules"),
    [("m3sda", "predictors"), ("mfsan", "spaces"), ("mfsan", "predictors"), ("dctn", "heads")],
)
def test_all_heads_read_the_same_target_features(name, modules, sources, tmp_path):
    made = trainer(tmp_path, name, sources)
    heads = getattr(made.method, modules)
    heard = listening(heads)
    for maps in steps(made, heard, 2):
        assert len(maps) == sources
        assert len(maps[0]) >= LABELLED
        if (
            modules == "spaces" or name != "mfsan"
        ):  # behind its spaces, MFSAN's predictors read features apart
            assert_equal(maps, maps[:1] * sources)
        elif sources > 1:
            assert not torch.equal(maps[0], maps[1])


@pytest.mark.trust(
    "synchronisation",
    "With synchronised=false the sub-networks see different target images: the comparison above can fail.",
)
@pytest.mark.parametrize("sources", [2, 4])
@pytest.mark.parametrize("name", ["mstl", "mstl_plus"])
def test_without_synchronisation_the_target_pixels_differ(name, sources, tmp_path):
    made = trainer(tmp_path, name, sources, "synchronised=false")
    heard = listening(extractors(made.method))
    for images in steps(made, heard, 3):
        assert all(not torch.equal(a, b) for a, b in combinations(images, 2))


# --- sub-networks and the other sources ----------------------------------------------------------------

INDEPENDENT = [
    ("source_only", ""),
    ("dann_per_source", ""),
    ("consistency", ""),
    ("mstl", ""),
    ("mstl", "fusion=gated"),
    ("mstl", "fusion=cross discriminator=image"),
    ("mstl", "fusion=mean discriminator_reads=attended heads_see_target=true"),
    ("mstl_plus", "paste=false mixing=0"),
    ("mstl_plus", "paste=false mixing=0 with_labels=true attention=transferable"),
    # With a shared extractor: heads, spaces and discriminators of a source.
    ("m3sda", ""),
    ("mfsan", ""),
    ("dctn", ""),
    ("mdan_soft", "gamma=1e-9"),  # its weights are shared, and constant in this limit
]


def noisy(task: Task, i: int) -> Task:
    """The task with noise for the images and masks of source i."""
    sources = list(task.sources)
    sources[i] = replace(useless(sources[i], 7), name=sources[i].name)
    return replace(task, sources=tuple(sources))


def owner(name: str) -> int | None:
    """The source that a parameter belongs to; None where sources share it."""
    match = OF_A_SOURCE.search(name)
    return int(match[2]) if match else None


def gradients(name, sources, overrides, labels, task):
    """Gradient of one training step at every parameter, from weights that depend on the arguments alone."""
    torch.manual_seed(0)
    method = build(name, sources, labels > 0, f"depth=2 {overrides}", width=4).train()
    with torch.no_grad():
        for p in method.parameters():
            p += 0.05 * torch.randn_like(p)
    batch = batch_of(task)
    if method.teacher:
        target = batch.target
        taught = torch.full((len(target.x) - len(target.y), 1, 16, 24), 0.3)
        batch = replace(batch, targets=(replace(target, taught=taught),) * sources)
    total(method.losses(batch, 0.7)).backward()
    return {key: p.grad for key, p in method.named_parameters() if p.grad is not None}


@pytest.mark.trust(
    "synchronisation",
    "The gradient of what belongs to one source (sub-network, head, discriminator) is bit for bit the same "
    "whatever images and masks any other source shows, for every method that has such parts.",
)
@pytest.mark.parametrize(("sources", "labels"), [(1, 4), (2, 0), (3, 4), (4, 0)])
@pytest.mark.parametrize(("name", "overrides"), INDEPENDENT)
def test_the_gradient_of_a_sub_network_does_not_depend_on_other_sources(
    name, overrides, sources, labels, record_property
):
    task = toy_task(sources, labels, (16, 24), (16, 16))
    before = gradients(name, sources, overrides, labels, task)
    compared = 0
    for i in {0, sources - 1}:
        after = gradients(name, sources, overrides, labels, noisy(task, i))
        assert before.keys() == after.keys()
        changed = {owner(key) for key in before if not torch.equal(before[key], after[key])}
        assert i in changed
        assert changed <= {i, None}
        compared += sum(owner(key) not in (i, None) for key in before)
    record_property("gradients compared", compared)


@pytest.mark.parametrize(
    ("name", "overrides", "coupled"),
    [("mstl", "stem=1", 0), ("mstl_plus", "mixing=0.5", 0), ("m3sda", "", None)],
)
def test_what_sources_share_does_depend_on_every_source(name, overrides, coupled):
    task = toy_task(3, 4, (16, 24), (16, 16))
    before, after = (gradients(name, 3, overrides, 4, t) for t in (task, noisy(task, 2)))
    assert coupled in {owner(key) for key in before if not torch.equal(before[key], after[key])}


@pytest.mark.trust(
    "synchronisation",
    "Where no term of the method couples sub-networks, whole training runs are independent: after any number "
    "of steps the weights of a sub-network are bit for bit the same whatever another source shows.",
)
@pytest.mark.parametrize("sources", [3])
@pytest.mark.parametrize(
    ("name", "overrides", "labels"),
    [
        ("source_only", "", 4),
        ("dann_per_source", "", 4),
        ("consistency", "weight=0", 4),
        ("mstl", "", 0),
        ("mstl", "fusion=mean heads_see_target=true", 4),
        ("mstl_plus", "consensus=false mixing=0 agreement=false", 0),
    ],
)
def test_runs_of_sub_networks_do_not_depend_on_other_sources(name, overrides, labels, sources, tmp_path):
    task = toy_task(sources, labels, (16, 24), (16, 16))
    runs = []
    for data in (task, noisy(task, sources - 1)):
        made = trainer(tmp_path, name, sources, overrides, labels=labels, task=data)
        for _ in range(3):
            made.update()
        runs.append(dict(made.method.named_parameters()) | dict(made.averaged.named_parameters()))
    differing = {owner(key) for key in runs[0] if not torch.equal(runs[0][key], runs[1][key])}
    assert differing == {sources - 1}
