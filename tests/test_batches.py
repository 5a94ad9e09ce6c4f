"""Batches: one target draw for all sub-networks, an own endless cycle per source, replay and resume."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mstl.data.augment import LIMITS, Augment, to_float, transform
from mstl.data.batches import Batches, Cycle, stream_generator
from mstl.data.domain import Domain
from mstl.data.task import Task
from mstl.system.errors import InputError

STILL = Augment.none()


def domain(name, n, size=(16, 32), seed=0):
    """Random images; the same name, n and seed give the same pixels."""
    g = torch.Generator().manual_seed(sum(map(ord, name)) * 1000 + n + seed)
    return Domain(
        name,
        images=torch.randint(0, 256, (n, 3, *size), dtype=torch.uint8, generator=g),
        masks=torch.randint(0, 2, (n, 1, *size), dtype=torch.uint8, generator=g),
        groups=np.array([f"{name}-{i}" for i in range(n)]),
        views=np.zeros(n, dtype=np.int64),
    )


NAMES = ("front", "cabin", "rear", "left", "right")
LENGTHS = (5, 13, 8, 21, 3)


def make_task(J=3, labelled=4, unlabelled=11, source_size=(16, 32), sources=None):
    return Task(
        "test/parts",
        sources=sources or tuple(domain(NAMES[j], LENGTHS[j], source_size) for j in range(J)),
        labelled=domain("labelled", labelled) if labelled else None,
        unlabelled=domain("unlabelled", unlabelled) if unlabelled else None,
        validation=domain("validation", 2),
        test=domain("test", 2),
    )


def take(batches, steps):
    return [next(batches) for _ in range(steps)]


def tensors(batch):
    yield from (batch.source_x, batch.source_y, batch.source_ids)
    for target in batch.targets:
        yield from (target.x, target.y, target.plain, target.ids)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


# --- synchronised -----------------------------------------------------------------------------------


@pytest.mark.trust(
    "synchronisation",
    "One target batch, the same object, serves all sub-networks of a step, also after a resume.",
)
@pytest.mark.parametrize("J", [1, 2, 3, 5])
@pytest.mark.parametrize("augment", [STILL, Augment()])
def test_all_sub_networks_get_the_same_target_object(J, augment):
    for batch in take(Batches(make_task(J), augment=augment), 4):
        assert batch.J == len(batch.targets) == J
        assert all(target is batch.target for target in batch.targets)


def test_synchronised_after_resume():
    task = make_task()
    batches = Batches(task)
    take(batches, 3)
    resumed = Batches(task)
    resumed.load_state_dict(batches.state_dict())
    batch = next(resumed)
    assert all(target is batch.target for target in batch.targets)


def test_unsynchronised_sub_networks_draw_their_own_targets():
    batches = Batches(make_task(3, unlabelled=200), synchronised=False)
    for batch in take(batches, 3):
        ids = [tuple(target.ids[4:].tolist()) for target in batch.targets]
        assert len(set(ids)) == 3
        assert not torch.equal(batch.targets[0].x, batch.targets[1].x)


def test_synchronisation_does_not_change_the_source_draws():
    together = Batches(make_task()).at(5)
    apart = Batches(make_task(), synchronised=False).at(5)
    assert torch.equal(together.source_x, apart.source_x)


# --- cycles -----------------------------------------------------------------------------------------


@given(n=st.integers(1, 9), epochs=st.integers(1, 4), seed=st.integers(0, 50))
def test_every_pass_of_a_cycle_holds_every_row_once(n, epochs, seed):
    rows = Cycle(n, seed, "x").rows(0, n * epochs).view(epochs, n)
    assert (rows.sort(dim=1).values == torch.arange(n)).all()


@given(n=st.integers(1, 9), start=st.integers(0, 40), count=st.integers(0, 30))
def test_a_position_does_not_depend_on_how_it_is_asked_for(n, start, count):
    cycle = Cycle(n, 0, "x")
    singly = [int(cycle.rows(p, 1)) for p in range(start, start + count)]
    assert Cycle(n, 0, "x").rows(start, count).tolist() == singly


def test_passes_and_streams_differ():
    cycle = Cycle(50, 0, "x")
    assert not torch.equal(cycle.order(0), cycle.order(1))
    assert not torch.equal(cycle.order(0), Cycle(50, 0, "y").order(0))
    assert not torch.equal(cycle.order(0), Cycle(50, 1, "x").order(0))


def test_unequal_sources_neither_truncate_nor_tie():
    """13·8 steps of 8 are whole passes of each source: all rows are seen equally often."""
    task = make_task(3)
    seen = torch.stack([batch.source_ids for batch in take(Batches(task, augment=STILL), 65)])
    for j, source in enumerate(task.sources):
        ids = seen[:, j].flatten()
        whole = len(ids) // len(source) * len(source)
        assert (ids[:whole].view(-1, len(source)).sort(dim=1).values == torch.arange(len(source))).all()


def test_labelled_and_unlabelled_targets_have_their_own_cycles():
    ids = torch.stack([b.target.ids for b in take(Batches(make_task(labelled=6, unlabelled=11)), 33)])
    known, unknown = ids[:, :4].flatten(), ids[:, 4:].flatten() - 6
    assert (known.view(-1, 6).sort(dim=1).values == torch.arange(6)).all()
    assert (unknown.view(-1, 11).sort(dim=1).values == torch.arange(11)).all()


# --- streams ----------------------------------------------------------------------------------------


@pytest.mark.trust(
    "synchronisation",
    "What a source draws, and how it is augmented, depends on no other source: one may be removed, or their "
    "order changed, and the others and the target show the same pixels.",
)
def test_removing_a_source_leaves_the_others_and_the_target_alone():
    sources = make_task(3).sources
    full = Batches(make_task(sources=sources)).at(7)
    fewer = Batches(make_task(sources=(sources[0], sources[2]))).at(7)
    assert torch.equal(fewer.source_x, full.source_x[[0, 2]])
    assert torch.equal(fewer.source_y, full.source_y[[0, 2]])
    assert torch.equal(fewer.target.x, full.target.x)


def test_permuting_the_sources_permutes_the_draws():
    sources = make_task(3).sources
    one = Batches(make_task(sources=sources), synchronised=False).at(3)
    other = Batches(make_task(sources=sources[::-1]), synchronised=False).at(3)
    assert torch.equal(other.source_x, one.source_x.flip(0))
    for a, b in zip(one.targets, reversed(other.targets), strict=True):
        assert torch.equal(a.x, b.x)


def test_sources_of_one_name_draw_independently():
    twins = (domain("crop", 40), domain("crop", 40))
    batch = Batches(make_task(sources=twins)).at(0)
    assert not torch.equal(batch.source_ids[0], batch.source_ids[1])


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = Batches(make_task()).at(2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(one, Batches(make_task()).at(2))


def test_another_seed_draws_other_batches():
    assert not same(Batches(make_task(), seed=0).at(0), Batches(make_task(), seed=1).at(0))


# --- contents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("J", [1, 2, 3, 5])
def test_shapes_with_sources_smaller_than_the_target(J):
    task = make_task(J, source_size=(16, 16))
    batch = next(Batches(task, batch_size=6, target_batch_size=4))
    assert batch.source_x.shape == (J, 6, 3, 16, 16)
    assert batch.source_y.shape == (J, 6, 1, 16, 16)
    assert batch.source_ids.shape == (J, 6)
    assert batch.target.x.shape == batch.target.plain.shape == (4, 3, 16, 32)
    assert batch.target.y.shape == (2, 1, 16, 32)
    assert batch.target.ids.shape == (4,)
    assert all(t.dtype in (torch.float32, torch.int64) for t in tensors(batch))


def test_ids_name_the_pixels():
    task = make_task(3)
    pool = torch.cat([task.labelled.images, task.unlabelled.images])
    for batch in take(Batches(task, augment=STILL), 5):
        for j, source in enumerate(task.sources):
            assert torch.equal(batch.source_x[j], to_float(source.images[batch.source_ids[j]]))
            assert torch.equal(batch.source_y[j], source.masks[batch.source_ids[j]].float())
        assert torch.equal(batch.target.x, to_float(pool[batch.target.ids]))
        assert torch.equal(batch.target.plain, batch.target.x)
        assert torch.equal(batch.target.y, task.labelled.masks[batch.target.ids[:4]].float())


@pytest.mark.trust("limits", "Masks of unlabelled target images are never read.")
def test_masks_of_unlabelled_images_are_never_read():
    task = make_task()
    batch = next(Batches(task))
    task.unlabelled.masks.fill_(1)
    assert same(batch, next(Batches(task)))
    assert len(batch.target.y) == 4


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "share", "expected"),
    [
        (0, 11, 0.5, 0),
        (4, 0, 0.5, 8),
        (4, 11, 0.5, 4),
        (2, 11, 0.5, 4),  # repeats
        (4, 11, 0.3, 2),
        (4, 11, 0.0, 0),
        (4, 11, 1.0, 8),
    ],
)
def test_labelled_share(labelled, unlabelled, share, expected):
    batches = Batches(make_task(labelled=labelled, unlabelled=unlabelled), labelled_share=share)
    for batch in take(batches, 3):
        ids = batch.target.ids
        assert len(batch.target.y) == expected == int((ids < labelled).sum())
        assert (ids[:expected] < labelled).all() and (ids[expected:] >= labelled).all()
        assert len(batch.target.x) == 8


def test_repeats_within_a_batch_are_augmented_differently():
    batch = next(Batches(make_task(labelled=1), augment=Augment(shift=0.2)))
    assert (batch.target.ids[:4] == 0).all()
    assert len({image.numpy().tobytes() for image in batch.target.x[:4]}) == 4


def test_augmentation_differs_between_sources_and_between_steps():
    one = domain("one", 1)
    batches = Batches(make_task(sources=(one, replace(one, name="other")), labelled=1, unlabelled=0))
    first, second = take(batches, 2)
    assert not torch.equal(first.source_x[0], first.source_x[1])
    assert not torch.equal(first.source_x, second.source_x)
    assert not torch.equal(first.target.x, second.target.x)


# --- replay and resume ------------------------------------------------------------------------------


@pytest.mark.trust("equalities", "Batches resumed from a checkpoint are those of an uninterrupted run.")
@pytest.mark.parametrize("synchronised", [True, False])
def test_a_resumed_iterator_continues_bit_by_bit(synchronised):
    task = make_task()
    straight = take(Batches(task, seed=3, synchronised=synchronised), 9)
    first = Batches(task, seed=3, synchronised=synchronised)
    take(first, 4)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Batches(task, seed=3, synchronised=synchronised)
    take(second, 2)
    second.load_state_dict(torch.load(file, weights_only=True))
    for expected, batch in zip(straight[4:], second, strict=False):
        assert same(expected, batch)


def test_any_step_can_be_replayed_in_any_order():
    batches = Batches(make_task())
    straight = take(batches, 6)
    assert all(same(batches.at(step), straight[step]) for step in (5, 0, 3))
    assert batches.step == 6


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"batch_size": 4}, "batch_size"),
        ({"target_batch_size": 4}, "target_batch_size"),
        ({"labelled_share": 0.25}, "labelled_per_batch"),
        ({"synchronised": False}, "synchronised"),
        ({"augment": Augment(flip=0.1)}, "augment"),
    ],
)
def test_a_state_of_another_configuration_is_rejected(other, name):
    state = Batches(make_task(), **other).state_dict()
    batches = Batches(make_task())
    with pytest.raises(InputError, match=name):
        batches.load_state_dict(state)
    assert batches.step == 0


def test_a_state_of_another_task_is_rejected():
    with pytest.raises(InputError, match="sources"):
        Batches(make_task(3)).load_state_dict(Batches(make_task(2)).state_dict())
    with pytest.raises(InputError, match="target"):
        Batches(make_task()).load_state_dict(Batches(make_task(labelled=5)).state_dict())


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"target_batch_size": 2.5}, "target_batch_size"),
        ({"labelled_share": 1.2}, "labelled_share"),
    ],
)
def test_parameters_out_of_range(wrong, message):
    with pytest.raises(InputError, match=message):
        Batches(make_task(), **wrong)


def test_tasks_that_cannot_be_batched():
    with pytest.raises(InputError, match="no target training images"):
        Batches(make_task(labelled=0, unlabelled=0))
    with pytest.raises(InputError, match="one height and width"):
        Batches(make_task(sources=(domain("front", 3), domain("rear", 3, (16, 16)))))


# --- sharp edges ------------------------------------------------------------------------------------


def test_every_draw_is_a_function_of_seed_stream_and_step():
    """What step 3 holds, made again by hand from the names of its streams."""
    task, batches = make_task(2), Batches(make_task(2), seed=6)
    batch = batches.at(3)
    for j, source in enumerate(task.sources):
        order = [
            torch.randperm(len(source), generator=stream_generator(6, f"source {source.name} 0", "order", p))
            for p in range(10)
        ]
        ids = torch.cat(order)[3 * 8 : 4 * 8]
        assert torch.equal(batch.source_ids[j], ids)
        draw = Augment().draw(8, stream_generator(6, f"source {source.name} 0", "augment", 3))
        expected = transform(source.images[ids], draw, source.masks[ids])
        torch.testing.assert_close(batch.source_x[j], expected.images)
        assert torch.equal(batch.source_y[j], expected.masks)
    known, unknown = (
        torch.cat(
            [
                torch.randperm(n, generator=stream_generator(6, f"{kind} target shared", "order", p))
                for p in range(9)
            ]
        )[12:16]
        for kind, n in (("labelled", 4), ("unlabelled", 11))
    )
    assert torch.equal(batch.target.ids, torch.cat([known, unknown + 4]))
    pixels = torch.cat([task.labelled.images[known], task.unlabelled.images[unknown]])
    draw = Augment().draw(8, stream_generator(6, "target shared", "augment", 3))
    expected = transform(pixels, draw, task.labelled.masks[known])
    torch.testing.assert_close(batch.target.x, expected.images)
    torch.testing.assert_close(batch.target.plain, expected.plain)
    assert torch.equal(batch.target.y, expected.masks)


@pytest.mark.trust(
    "equalities", "The seed of a random stream is the same number on every machine and in every version."
)
def test_the_seed_of_a_stream_never_changes():
    digest = hashlib.blake2b(b"(6, 'source front 0', 'augment', 3)", digest_size=4).digest()
    assert stream_generator(6, "source front 0", "augment", 3).initial_seed() == int.from_bytes(
        digest, "little"
    )
    assert stream_generator(0, "places").initial_seed() == 1164042636


def test_the_first_batch_is_that_of_step_0_and_the_defaults_are_those_promised():
    batches = Batches(make_task())
    first = next(batches)
    assert same(first, Batches(make_task()).at(0))
    assert batches.step == 1
    assert first.source_x.shape[1] == 8
    assert (len(first.target.x), len(first.target.y)) == (8, 4)
    assert first.target.unlabelled == slice(4, None)
    assert first.target.taught is None
    assert batches.augment == Augment()
    assert (batches.seed, batches.synchronised, batches.J) == (0, True, 3)
    assert same(
        first, Batches(make_task(), seed=0, batch_size=8, target_batch_size=8, labelled_share=0.5).at(0)
    )


@pytest.mark.parametrize(
    ("size", "share", "labelled"), [(1, 0.5, 1), (3, 0.5, 2), (5, 0.5, 3), (5, 0.4, 2), (1, 0.4, 0)]
)
def test_the_number_of_labelled_images_is_rounded_half_up(size, share, labelled):
    batch = next(Batches(make_task(), batch_size=1, target_batch_size=size, labelled_share=share))
    assert (len(batch.target.x), len(batch.target.y)) == (size, labelled)


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_fresh_cycle_may_be_asked_for_any_pass_first(epoch):
    cycle = Cycle(5, 0, "x")
    assert cycle.order(epoch).sort().values.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(cycle.order(epoch), Cycle(5, 0, "x").rows(5 * epoch, 5))
    assert cycle.rows(3, 0).tolist() == []
    assert cycle.rows(3, 0).dtype == torch.int64


def test_the_state_is_plain_and_says_what_the_batches_were_made_from():
    batches = Batches(make_task(2), seed=4, labelled_share=0.25, augment=STILL)
    take(batches, 2)
    assert batches.state_dict() == {
        "step": 2,
        "seed": 4,
        "appearance": "own",
        "batch_size": 8,
        "target_batch_size": 8,
        "labelled_per_batch": 2,
        "synchronised": True,
        "augment": {key: 0.0 for key in LIMITS},
        "sources": [["front", 5, 16, 32], ["cabin", 13, 16, 32]],
        "target": [4, 11, 16, 32],
    }


def test_refusals_say_what_was_found():
    with pytest.raises(InputError, match=r"^batch_size must be an integer of at least 1; got 0$"):
        Batches(make_task(), batch_size=0)
    with pytest.raises(InputError, match=r"^target_batch_size must be an integer of at least 1; got '4'$"):
        Batches(make_task(), target_batch_size="4")
    with pytest.raises(InputError, match=r"^labelled_share must lie in \[0, 1\]; got -0\.1$"):
        Batches(make_task(), labelled_share=-0.1)
    with pytest.raises(InputError, match=r"^task 'test/parts' has no target training images; give it some$"):
        Batches(make_task(labelled=0, unlabelled=0))
    task = replace(make_task(), unlabelled=domain("unlabelled", 3, (16, 16)))
    wanted = (
        r"^all target images must have one height and width; "
        r"got labelled \(16, 32\), unlabelled \(16, 16\): resize them alike$"
    )
    with pytest.raises(InputError, match=wanted):
        Batches(task)
    wanted = (
        "^checkpoint of other batches: seed is 1 there and 0 here; "
        "resume with the configuration it was saved with, or start a new run$"
    )
    with pytest.raises(InputError, match=wanted):
        Batches(make_task()).load_state_dict(Batches(make_task(), seed=1).state_dict())
    with pytest.raises(InputError, match="seed is None there and 0 here"):
        Batches(make_task()).load_state_dict({})


# --- GPU --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_draws_what_the_cpu_draws_without_waiting_for_it():
    cpu, gpu = Batches(make_task()), Batches(make_task(), device="cuda")
    next(gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        ahead = take(gpu, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(ahead, start=1):
        expected = cpu.at(step)
        assert torch.equal(batch.source_ids, expected.source_ids)
        assert torch.equal(batch.target.ids, expected.target.ids)
        torch.testing.assert_close(batch.target.x.cpu(), expected.target.x, atol=1e-3, rtol=0)
        torch.testing.assert_close(batch.source_x.cpu(), expected.source_x, atol=1e-3, rtol=0)
