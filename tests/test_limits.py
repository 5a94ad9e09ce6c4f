"""Limits and symmetries of every method: one source, sources permuted or repeated, terms switched off.

Everything in double precision with weights off their start: equal means equal to 1e-7, in losses, in
gradients at every parameter and in predictions. (Some methods weigh sources in single precision.)
"""

import re
from dataclasses import replace
from itertools import combinations
from math import comb, log

import pytest
import torch
from conftest import OF_MASKS
from rearranged import asked, assert_same, drawn, made, rearranged, slopes, weights
from small import reordered

from mstl.nn import Layers

IMAGES = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
SINGLE = ("target_only", "oracle")  # they learn from target labels alone
PLUS_OFF = "consensus=false agreement=false mixing=0 consistency=0 with_labels=true"
PLUS_AS_MSTL = "strength=0.05 heads_see_target=true prediction=all"


def assert_one_method(ours, theirs, batch, leaves, renamed, predictions=True):
    """Fail unless two (method, weights) agree; the largest difference in losses and gradients."""
    found, wanted = (asked(*pair)("losses", batch, 0.7) for pair in (ours, theirs))
    found = {renamed.get(key, key): loss for key, loss in found.items()}
    assert all(found.pop(key) == 0 for key in found.keys() - wanted.keys())
    gap = assert_same(found, wanted)
    gap = max(gap, assert_same(slopes(found, leaves), slopes(wanted, leaves)))
    if predictions:
        found, wanted = ({"p": asked(*pair)("predict", IMAGES).sigmoid()} for pair in (ours, theirs))
        assert_same(found, wanted, atol=1e-6)  # DCTN's weights are of single precision
    return gap


# --- one source ---------------------------------------------------------------------------------------

PLAIN = "attention=none fusion=mean heads_see_target=true"
PARENTS = [
    ("source_only", "", "source_combine", ""),
    ("pooled_ensemble", "", "source_combine", ""),
    ("m3sda", "weight=0", "source_combine", ""),
    ("multi_head", "", "source_combine", ""),
    ("mstl", "attention=none fusion=union adversarial=false", "source_combine", ""),
    ("mstl_plus", "fusion=union adversarial=false consistency=0", "source_combine", ""),
    ("mstl", "attention=none fusion=union strength=0.3", "dann", "strength=0.3"),
    ("mfsan", "weight=0", "source_combine", ""),  # with the identity as its one space
    ("mstl", f"{PLAIN} adversarial=false", "source_combine", ""),
    ("mstl_plus", "fusion=mean adversarial=false consistency=0", "source_combine", ""),
    ("dann_per_source", "strength=0.3", "dann", "strength=0.3"),
    ("dann_per_source", "strength=0.3 discriminator=image", "dann", "strength=0.3 discriminator=image"),
    ("dctn", "strength=0.3 pseudo=0", "dann", "strength=0.3"),
    ("consistency", "strength=0.3 levels=1", "dann", "strength=0.3"),
    ("mstl", f"{PLAIN} strength=0.3", "dann", "strength=0.3"),
    # The gate of one source is 1: with one head for source and target the fused prediction is the plain one.
    ("mstl", "attention=none fusion=gated strength=0.3", "dann", "strength=0.3"),
    ("mstl_plus", "fusion=mean strength=0.3 with_labels=true agreement=false", "dann", "strength=0.3"),
]


def parent_state(state):
    """The weights under the names of a method that has one network and one adversary."""
    result = {}
    for name, value in state.items():
        for old, new in (
            ("subnetworks.0.", "network."),
            ("networks.0.", "network."),
            ("adversaries.0.", "adversary."),
            ("encoder.", "network.encoder."),
            ("heads.0.", "network.predictor."),
            ("predictors.0.", "network.predictor."),
        ):
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        result[name] = value
    return result


def fitting(method, state):
    """What the method has of these weights; it must be everything it has."""
    known = dict([*method.named_parameters(), *method.named_buffers()])
    found = {key: value for key, value in state.items() if key in known}
    assert found.keys() == known.keys()
    return found


@pytest.mark.trust(
    "limits",
    "With one source and its own terms switched off, every multi-source method is its single-source parent, "
    "pooled training or DANN: the same losses, gradients and predictions.",
)
@pytest.mark.parametrize(
    ("name", "overrides", "parent", "parent_overrides", "labels"),
    # Source-only learns from no target label, its parent would.
    [(*case, labels) for case in PARENTS for labels in (0, 4) if not (case[0] == "source_only" and labels)],
)
def test_one_source_reduces_a_method_to_its_parent(
    name, overrides, parent, parent_overrides, labels, record_property
):
    method, base = made(name, 1, overrides, labels > 0), made(parent, 1, parent_overrides, labels > 0)
    if name == "mfsan":
        method.spaces[0] = Layers()
    leaves = weights(method)
    state = dict(leaves)
    if getattr(method, "fuses", False):
        state |= {
            key: leaves[f"subnetworks.0.{key}"] for key in leaves if key.startswith("predictor.")
        }  # one head
    theirs = fitting(base, parent_state(state))
    renamed = {"target_heads": "target", "target_fused": "target", "target_union": "target"}
    batch = drawn(1, labels)
    gap = assert_one_method((method, state), (base, theirs), batch, leaves, renamed)
    record_property("largest difference of losses and gradients", gap)


# --- any number of sources: switched off, one method is another ---------------------------------------

EQUAL = [
    ("mstl_plus", PLUS_OFF, "mstl", f"{PLUS_AS_MSTL} attention=none", {}),
    ("mstl_plus", f"{PLUS_OFF} attention=both", "mstl", PLUS_AS_MSTL, {}),
    (
        "mstl_plus",
        f"fusion=union {PLUS_OFF.replace('mixing=0 ', '')}",
        "mstl",
        "strength=0.05 attention=none fusion=union",
        {},
    ),
    ("dann_per_source", "strength=0.3", "mstl", f"{PLAIN} strength=0.3", {"target": "target_heads"}),
    ("consistency", "levels=1 weight=0 strength=0.3", "dann_per_source", "strength=0.3", {}),
]


@pytest.mark.trust(
    "limits",
    "Whatever the number of sources, switching off what distinguishes two methods leaves one method: "
    "MSTL-plus becomes MSTL, MSTL becomes one DANN a source, multi-model consistency becomes one DANN a "
    "source.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("labels", [0, 4])
@pytest.mark.parametrize(("name", "overrides", "other", "other_overrides", "renamed"), EQUAL)
def test_switched_off_one_method_is_another(
    name, overrides, other, other_overrides, renamed, labels, sources, record_property
):
    method, base = (made(n, sources, o, labels > 0) for n, o in ((name, overrides), (other, other_overrides)))
    state = weights(method)
    theirs = fitting(
        base, {key.replace("adversaries.0.", "adversary."): value for key, value in state.items()}
    )
    averages_alike = (name, other) != ("dann_per_source", "mstl") or sources == 1
    gap = assert_one_method(
        (method, state), (base, theirs), drawn(sources, labels), state, renamed, averages_alike
    )
    record_property("largest difference of losses and gradients", gap)


@pytest.mark.trust(
    "limits",
    "Methods that pool their sources see nothing but the pool: J sources are one source that holds the "
    "images of all.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["source_combine", "dann"])
def test_pooled_sources_are_one_source(name, sources):
    many, one = made(name, sources), made(name, 1)
    state, batch = weights(many), drawn(sources)
    pooled = replace(
        batch,
        **{k: getattr(batch, k).flatten(0, 1)[None] for k in ("source_x", "source_y", "source_ids")},
        targets=batch.targets[:1],
    )
    found, wanted = asked(many, state)("losses", batch, 0.7), asked(one, state)("losses", pooled, 0.7)
    assert_same(found, wanted)
    assert_same(slopes(found, state), slopes(wanted, state))


@pytest.mark.trust(
    "limits", "What learns from the target alone is the same run, bit for bit, whatever the sources are."
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["target_only", "oracle"])
def test_what_has_no_source_ignores_all_sources(name, sources):
    method, batch = made(name, sources), drawn(sources)
    state = weights(method)
    other = replace(batch, source_x=1 - batch.source_x, source_y=1 - batch.source_y)
    losses = [asked(method, state)("losses", b, 0.7) for b in (batch, other)]
    assert losses[0]["target"] == losses[1]["target"]
    one, two = (slopes(found, state) for found in losses)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert losses[0]["target"] == asked(made(name, 1), state)("losses", drawn(1), 0.7)["target"]


# --- symmetries ---------------------------------------------------------------------------------------

UNIONS = [("mstl", "fusion=union"), ("mstl_plus", "fusion=union with_labels=true")]
VARIANTS = [
    *((name, "") for name in OF_MASKS),
    ("mstl", "fusion=gated attention=spatial"),
    ("mstl", "fusion=cross attention=channel discriminator=image"),
    ("mstl", "fusion=mean discriminator_reads=attended"),
    ("mstl_plus", "attention=transferable with_labels=true"),
    ("mstl_plus", "fusion=gated with_labels=true attention=both"),
    *UNIONS,
    ("mfsan", "places=40"),
    ("dctn", "pseudo=0.5"),
    ("consistency", "discriminator=image levels=1"),
]
ORDERS = {1: [0], 2: [1, 0], 3: [2, 0, 1], 4: [2, 3, 1, 0]}


@pytest.mark.trust(
    "limits",
    "Permuting the sources together with what belongs to them permutes what a method says of each source and "
    "leaves losses, gradients and predictions, for every method.",
)
@pytest.mark.parametrize(
    ("name", "overrides", "sources", "labels"),
    [
        (*variant, *numbers)
        for variant in VARIANTS
        for numbers in ((2, 4), (3, 4), (3, 0), (4, 4))
        if not (variant[0] in SINGLE and numbers == (3, 0))
    ],
)
def test_permuting_the_sources(name, overrides, sources, labels):
    if name == "mstl_plus":
        overrides += " mixing=0"  # see below
    method, order = made(name, sources, overrides, labels > 0), ORDERS[sources]
    state, batch = weights(method), drawn(sources, labels)
    here, there = asked(method, state), asked(method, rearranged(method, state, order))
    assert_permuted(here, there, batch, order, state)


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_mixing_goes_round_the_sources_and_does_not_care_where_it_begins(sources):
    method, order = made("mstl_plus", sources, labelled=False), [*range(1, sources), 0]
    assert method.mixing > 0
    state, batch = weights(method), drawn(sources, 0)
    here, there = asked(method, state), asked(method, rearranged(method, state, order))
    assert_permuted(here, there, batch, order, state)


def assert_permuted(here, there, batch, order, state):
    before, after = here("losses", batch, 0.7), there("losses", reordered(batch, order), 0.7)
    assert_same(after, before)
    assert_same(slopes(after, state), slopes(before, state))
    assert_same(
        {"p": there("predict", IMAGES).sigmoid()}, {"p": here("predict", IMAGES).sigmoid()}, atol=1e-6
    )
    for question in ("source_features", "attended_features"):
        for k, j in enumerate(order):
            new, old = there(question, IMAGES, k), here(question, IMAGES, j)
            assert (new is None) == (old is None)
            if old is not None:
                assert_same({"map": new}, {"map": old})
    new, old = there("attention_maps", IMAGES), here("attention_maps", IMAGES)
    assert (new is None) == (old is None)
    if old is not None:
        assert_same({"maps": new}, {"maps": old[order]})


@pytest.mark.parametrize("name", ["source_only", "dann_per_source", "mstl", "mstl_plus", "dctn", "m3sda"])
def test_permuting_sources_without_their_weights_is_another_problem(name):
    method = made(name, 3)
    state, batch = weights(method), drawn(3)
    ask = asked(method, state)
    before, after = ask("losses", batch, 0.7), ask("losses", reordered(batch, [2, 0, 1]), 0.7)
    assert (before["source"] - after["source"]).abs() > 1e-4


def of_copies(name, losses, alone, sources, times):
    """What the losses become where every source stands ``times`` times.

    Averages stay. Pairs of copies count as pairs, and have nothing between them: a mean over pairs of sources
    shrinks to the share of pairs that are not copies. The soft maximum of MDAN grows by log(times)/gamma.
    """
    wanted = dict(losses)
    share = comb(sources, 2) * times**2 / comb(sources * times, 2)
    if "disagreement" in losses:
        wanted["disagreement"] = share * losses["disagreement"]
    if name == "m3sda":
        to_target = torch.stack([found["moments"] for found in alone]).mean()
        wanted["moments"] = to_target + share * (losses["moments"] - to_target)
    if name == "mdan_soft":
        wanted["source"] = losses["source"] + log(times) / 10  # gamma
    return wanted


@pytest.mark.trust(
    "limits",
    "Giving a method every source twice or more, with its weights, leaves averages, gradients and "
    "predictions as they were; means over pairs of sources shrink by the share of pairs that are copies.",
)
@pytest.mark.parametrize(("sources", "times"), [(1, 2), (1, 4), (2, 2), (3, 2)])
@pytest.mark.parametrize(
    # Of a union with copies the truth is test_union's.
    ("name", "overrides"),
    [variant for variant in VARIANTS if variant not in UNIONS and variant[0] != "multi_head"],
)
def test_repeating_every_source(name, overrides, sources, times):
    if name == "mstl_plus":  # of "all" predictions the one fused one would be outnumbered by copies
        overrides += " prediction=fused" if "fusion=gated" in overrides else " prediction=heads"
    method, order = made(name, sources, overrides), [*range(sources)] * times
    state, batch = weights(method), drawn(sources)
    ask, more = (
        asked(method, state),
        asked(made(name, len(order), overrides), rearranged(method, state, order)),
    )
    once, again = ask("losses", batch, 0.7), more("losses", reordered(batch, order), 0.7)
    alone = []
    if name == "m3sda":
        single = [
            (asked(made(name, 1, overrides), rearranged(method, state, [j])), reordered(batch, [j]))
            for j in range(sources)
        ]
        alone = [ask_one("losses", one, 0.7) for ask_one, one in single]
    wanted = of_copies(name, once, alone, sources, times)
    assert_same(again, wanted)
    assert_same(slopes(again, state), slopes(wanted, state))
    found, wanted = ({"p": f("predict", IMAGES).sigmoid()} for f in (more, ask))
    assert_same(found, wanted, atol=1e-6)


@pytest.mark.trust(
    "limits",
    "One source given twice among others counts twice in an average, neither once nor more.",
)
@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize(
    "name",
    ["source_combine", "source_only", "multi_head", "dann_per_source", "m3sda", "mfsan", "dctn", "mstl"],
)
def test_repeating_one_source_weighs_it_twice(name, sources):
    method, order = made(name, sources), [*range(sources), 0]
    state, batch = weights(method), drawn(sources)
    found = asked(made(name, sources + 1), rearranged(method, state, order))(
        "losses", reordered(batch, order), 0.7
    )
    per_source = [
        asked(made(name, 1), rearranged(method, state, [j]))("losses", reordered(batch, [j]), 0.7)["source"]
        for j in order
    ]
    assert_same({"source": found["source"]}, {"source": torch.stack(per_source).mean()})


# --- terms at their limits ----------------------------------------------------------------------------


@pytest.mark.trust("limits", "As gamma grows, soft MDAN becomes hard MDAN: losses and gradients.")
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("labels", [0, 4])
def test_gamma_to_infinity_turns_soft_into_hard(labels, sources):
    soft, hard = (
        made(name, sources, f"strength=0.5{gamma}", labels > 0)
        for name, gamma in (("mdan_soft", " gamma=1e6"), ("mdan_hard", ""))
    )
    state, batch = weights(hard), drawn(sources, labels)
    found, wanted = (asked(method, state)("losses", batch, 0.7) for method in (soft, hard))
    assert_same(found, wanted, atol=1e-6)
    assert_same(slopes(found, state), slopes(wanted, state))


@pytest.mark.trust("limits", "As gamma falls to zero, soft MDAN weighs all sources alike.")
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_gamma_to_zero_is_the_mean_over_sources(sources):
    soft, hard = made("mdan_soft", sources, "strength=0.5 gamma=1e-8"), made("mdan_hard", 1, "strength=0.5")
    state, batch = weights(soft), drawn(sources)
    found = slopes(asked(soft, state)("losses", batch, 0.7), state)
    alone = [
        slopes(asked(hard, rearranged(soft, state, [j]))("losses", reordered(batch, [j]), 0.7), state)
        for j in range(sources)
    ]
    assert_same(found, {key: torch.stack([one[key] for one in alone]).mean(0) for key in found}, atol=1e-7)


@pytest.mark.trust(
    "limits",
    "Attention that weighs every place and channel alike is no attention: the losses, gradients and "
    "predictions of the plain method.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("attention", ["both", "channel", "spatial"])
@pytest.mark.parametrize("name", ["mstl", "mstl_plus"])
def test_uniform_attention_is_none(name, attention, sources):
    plain, attentive = (made(name, sources, f"attention={kind}") for kind in ("none", attention))
    state = weights(plain)
    start = {k: v.detach() for k, v in [*attentive.named_parameters(), *attentive.named_buffers()]}
    batch = drawn(sources)
    assert_one_method((attentive, start | state), (plain, state), batch, state, {})
    moved = {key: value + 0.1 if ".attention." in key else value for key, value in start.items()}
    losses = [asked(attentive, values | state)("losses", batch, 0.7) for values in (start, moved)]
    assert (losses[0]["source"] - losses[1]["source"]).abs() > 1e-5


@pytest.mark.trust(
    "limits",
    "Transferable attention with discriminators that are equally sure of every place has weight 1 "
    "everywhere: the plain method.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("logit", [0.0, 1.5, -40.0])
def test_undecided_discriminators_leave_no_attention(logit, sources):
    plain, attentive = (
        made("mstl_plus", sources, f"attention={kind} with_labels=true") for kind in ("none", "transferable")
    )
    state = weights(plain)
    with torch.no_grad():
        for key, value in state.items():
            if re.search(r"discriminators\.\d+\.layers\.5\.", key):
                value.fill_(logit if key.endswith("bias") else 0.0)
    assert_one_method((attentive, state), (plain, state), drawn(sources), state, {})
    maps = asked(attentive, state)("attention_maps", IMAGES)
    torch.testing.assert_close(maps, torch.ones_like(maps))


@pytest.mark.trust(
    "limits",
    "At strength 0 an adversary watches and moves nobody: what the sub-networks learn is what they learn "
    "without it, for every adversarial method.",
)
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "name", ["dann", "dann_per_source", "mdan_hard", "mdan_soft", "dctn", "consistency", "mstl", "mstl_plus"]
)
def test_strength_zero_is_the_method_without_its_adversary(name, sources):
    method = made(name, sources, "strength=0" + (" with_labels=true" if name == "mstl_plus" else ""))
    state, batch = weights(method), drawn(sources)
    losses = asked(method, state)("losses", batch, 0.7)
    of_adversary = slopes({"adversarial": losses["adversarial"]}, state)
    watching = {key for key in of_adversary if "adversar" in key}
    assert watching
    assert all((of_adversary[key] != 0).any() for key in watching)
    assert all((of_adversary[key] == 0).all() for key in of_adversary.keys() - watching)


@pytest.mark.trust("limits", "Sharpness 0, or equal distances, weigh all sources alike in MSTL-plus.")
@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_consensus_at_its_limits(sources):
    equal = torch.full((sources,), 1 / sources, dtype=torch.float64)
    flat, sharp, usual = (made("mstl_plus", sources, f"sharpness={s}") for s in (0, 1e6, 1))
    distances = 0.1 + torch.arange(sources, dtype=torch.float64).flip(0)
    for method in (flat, sharp, usual):
        method.distances.copy_(distances)
    torch.testing.assert_close(flat.weights, equal)
    nearest = torch.zeros(sources, dtype=torch.float64)
    nearest[-1] = 1
    torch.testing.assert_close(sharp.weights, nearest)
    assert usual.weights.sum().item() == pytest.approx(1)
    assert (usual.weights.diff() > 0).all()
    usual.distances.fill_(0.3)
    torch.testing.assert_close(usual.weights, equal)
    usual.distances.zero_()
    torch.testing.assert_close(usual.weights, equal)


@pytest.mark.trust(
    "limits",
    "The mean over pairs of sources is the mean over pairs, for two sources their one distance.",
)
@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize("name", ["mfsan", "consistency"])
def test_disagreement_is_the_mean_over_pairs(name, sources):
    state, batch = weights(method := made(name, sources)), drawn(sources)
    pairs = [
        asked(made(name, 2), rearranged(method, state, list(pair)))(
            "losses", reordered(batch, list(pair)), 0.7
        )["disagreement"]
        for pair in combinations(range(sources), 2)
    ]
    found = asked(method, state)("losses", batch, 0.7)["disagreement"]
    assert_same({"mean": found}, {"mean": torch.stack(pairs).mean()})
    assert found > 1e-6
