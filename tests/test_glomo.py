"""GLoMo: numbers of the released code, causality, stages and controls."""

from __future__ import annotations

import pytest
import torch
from conftest import toy_classes
from small import close, gradients, whole_and_resumed
from test_golden import det
from test_golden_family import GOLDEN, agree, vec
from torch import nn

from mstl.data.augment import Augment
from mstl.data.batches import Batches
from mstl.methods import build
from mstl.methods.glomo import Direction
from mstl.nn.graphs import (
    CausalLayer,
    ContextDecoder,
    FeaturePredictor,
    GraphMixture,
    GraphPredictor,
    WordDecoder,
    relations,
    with_products,
)
from mstl.nn.units import Patches, Words, turned, turned_graph
from mstl.problems import Classification
from mstl.run.checkpoint import load_checkpoint
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

SHAPE = (3, 16, 16)
E = det(5, 4, 0.2, 1, 0)[None]


# --- numbers ------------------------------------------------------------------------------------------------


def set_to(layer: nn.Module, **values):
    for name, value in values.items():
        setattr(layer, name, nn.Parameter(value))


def predictor(heads):
    made = GraphPredictor(4, layers=2, heads=heads, convolutions=0, head_width=3).double()
    for l in range(2):
        n = 3 * heads
        set_to(made.keys[l], weight=det(n, 4, 0.3 + l, 0.7, 0), bias=vec(n, 0.5 + l, 0.2, 0))
        set_to(made.queries[l], weight=det(n, 4, 0.9 + l, 0.7, 0), bias=vec(n, 0.1 + l, 0.2, 0))
        set_to(made.thresholds[l], weight=det(1, 3, 0.4 + l, 0.3, 0), bias=vec(1, 0.2 + l, 0.1, 0.6))
    return made


def features(layers):
    made = FeaturePredictor(4, layers, recurrent=False).double()
    for l in range(layers):
        set_to(made.layers[l], weight=det(4, 4, 0.6 + l, 0.5, 0), bias=vec(4, 0.8 + l, 0.1, 0))
    return made


@pytest.mark.parametrize("heads", [1, 2])
def test_graphs_and_features(heads):
    graphs = predictor(heads)(E)
    for l, graph in enumerate(graphs, start=1):
        agree(graph[0], "glomo", f"graph_official_heads{heads}_layer{l}")
        agree(features(l)(E, graphs[:l])[0], "glomo", f"features_linear_residual_heads{heads}_layer{l}")


def test_the_papers_form_is_the_transpose_with_an_offset():
    found = relations(det(5, 3, 1.1, 1, 0.1), det(5, 3, 0.3, 1, 0), -0.1, causal=False)
    agree(found, "glomo", "graph_paper_transposed")
    agree(found.T, "glomo", "graph_paper")


def test_gru_features():
    made = FeaturePredictor(4, 1).double()
    values = {
        "weight_ih": det(12, 8, 0.15, 0.4, 0), "weight_hh": det(12, 4, 0.35, 0.4, 0),
        "bias_ih": vec(12, 0.55, 0.2, 0), "bias_hh": vec(12, 0.75, 0.2, 0),
    }  # fmt: skip
    set_to(made.layers[0], **values)
    agree(made(E, predictor(1)(E)[:1])[0], "glomo", "features_gru_layer1")


def test_mixture_and_transfer():
    graphs = predictor(1)(E)
    agree(with_products(graphs)[2][0, 0], "glomo", "lambda2")
    mixture = GraphMixture(2, 1).double()
    set_to(mixture, logits=vec(3, 0.7, 1, 0)[:, None], scale=torch.tensor(1.3, dtype=torch.float64))
    mixed = mixture(graphs)
    agree(mixed[0], "glomo", "mixture")
    h = det(5, 2, 0.4, 1, 0.2)[None]
    agree(torch.cat((h, mixture.transferred(mixed, h)), -1)[0], "glomo", "transferred")
    backwards = mixture([graph.flip(-1, -2) for graph in graphs])[0]
    agree(backwards, "glomo", "mixture_backward_graphs")
    assert not backwards.tril().any()
    assert len(GOLDEN["glomo"]) == 15  # all of them stand in this file


# --- what the mathematics promises --------------------------------------------------------------------------


def test_rows_are_shares_and_a_row_without_support_is_zero_with_its_gradient():
    q, k = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    graph = relations(q, k, 0.0, causal=True)
    sums = graph.sum(1)
    assert ((sums - 1).abs().lt(1e-5) | (sums == 0)).all() and sums[0] == 0
    assert not graph.triu().any()
    (gradient,) = torch.autograd.grad(relations(q, k, 1e3, False).square().sum(), q)
    assert torch.equal(gradient, torch.zeros_like(q))


@pytest.mark.parametrize("heads", [1, 2])
def test_a_change_moves_nothing_before_it(heads):
    torch.manual_seed(0)
    graphs, carried = GraphPredictor(8, 2, heads, 2).double().train(), FeaturePredictor(8, 2).double()
    x = torch.randn(3, 9, 8, dtype=torch.float64)
    other = x.clone()
    other[:, 5] += 1
    one, two = (carried(v, graphs(v)) for v in (x, other))
    assert torch.equal(one[:, :5], two[:, :5]) and not torch.equal(one[:, 5:], two[:, 5:])
    after = GraphPredictor(8, 2, heads, 2, causal=False).double()
    assert not torch.equal(carried(x, after(x))[:, 0], carried(other, after(other))[:, 0])


def test_batch_normalisation_would_let_the_future_in():
    """As released: the layer before the causal cut normalises over the sequence."""
    torch.manual_seed(0)
    layer, x = CausalLayer(8).train(), torch.randn(2, 6, 8)
    other = x.clone()
    other[:, -1] += 5
    assert torch.equal(layer(x)[:, 0], layer(other)[:, 0])
    leaking = nn.BatchNorm1d(8).train()
    one, two = (leaking(layer.layer(nn.functional.pad(v.transpose(1, 2), (2, 0)))) for v in (x, other))
    assert (one[..., 0] - two[..., 0]).abs().max() > 1e-3


def test_the_decoder_sees_the_past_of_each_prediction_alone():
    torch.manual_seed(0)
    decoder, units = ContextDecoder(4, 3, ahead=2), torch.randn(1, 6, 3)
    carried, at = torch.randn(1, 6, 4), torch.tensor([1])
    gradient = torch.autograd.functional.jacobian(
        lambda u: decoder.last(decoder.recurrent(torch.cat((torch.zeros(1, 1, 3), u[:, 2:3]), 1),
                                                 carried[:, at].flatten(0, 1)[None])[0]), units)  # fmt: skip
    assert not gradient[0, 0].any() and gradient[0, 1, :, 0, 2].any()
    by_hand = decoder.last(decoder.recurrent(torch.cat((torch.zeros(1, 1, 3), units[:, 2:3]), 1),
                                             carried[:, 1:2])[0])  # fmt: skip
    expected = (by_hand - units[:, 2:4]).square().mean()
    assert decoder(carried, units, at).item() == pytest.approx(expected.item(), rel=1e-6)


# --- the method ---------------------------------------------------------------------------------------------


def batch(labels=6):
    task = toy_classes(SHAPE, labels=labels)
    return next(Batches(task, batch_size=3, target_batch_size=8, augment=Augment.none()))


def made(overrides=""):
    torch.manual_seed(0)
    options = f"units=8 heads=2 {overrides}"
    return build("glomo", 3, True, options, toy_classes(SHAPE).problem).train()


def test_patches_come_in_raster_order():
    image = torch.arange(16.0 * 16).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    found = made().units.sequence(image)
    assert found.shape == (1, 16, 48)
    assert torch.equal(found[0, 1].view(3, 4, 4)[0], image[0, 0, :4, 4:8])
    assert torch.equal(found[0, 4].view(3, 4, 4)[0], image[0, 0, 4:8, :4])


def test_a_graph_of_patches_knows_where_they_are_and_one_of_words_only_what_they_are():
    """All units alike: rows of words far from both ends draw evenly, those of patches do not."""
    torch.manual_seed(0)
    patches = Direction(made().hyper, Patches(SHAPE, 4))
    words = Direction(made().hyper, Words(40, 9))
    far = slice(8, None)  # beyond the reach of convolutions, which see where a sequence begins
    for direction, sequence, uneven in (
        (patches, torch.ones(1, 16, 48), True),
        (words, torch.ones(1, 40, dtype=torch.int64), False),
    ):
        graph = direction.graphs(direction.read(sequence, None), None)[0][0, :, -1, far]
        drawn = graph[:, :-1].sum(-1) > 0
        spread = (graph[drawn][:, :-1].std(-1) / graph[drawn][:, :-1].mean(-1)).mean()
        assert drawn.any() and (spread > 0.1) == uneven


def test_labels_teach_nothing_before_the_second_stage_and_graphs_nothing_after_it():
    method, b = made(), batch()
    before, after = method.losses(b, 0.2), method.losses(b, 0.6)
    assert before["context"] > 0 == before["target"] and after["target"] > 0 == after["context"]
    assert not any(
        g.any() for g in gradients(method.body, before["context"] + 0 * method.predict(b.target.x).sum())
    )
    assert not any(g.any() for g in gradients(method.directions, after["target"] + 0 * before["context"]))
    assert any(g.any() for g in gradients(method.mixtures, after["target"]))


@pytest.mark.parametrize("graph", ["scratch", "random", "uniform", "identity", "none"])
def test_controls(graph):
    method, b = made(f"graph={graph}"), batch()
    assert method.losses(b, 0.2)["context"] == 0
    after = method.losses(b, 0.6)["target"]
    every = sum(p.sum() for p in method.directions.parameters())
    learns = any(g.any() for g in gradients(method.directions, after + 0 * every))
    assert learns == (graph == "scratch")
    mixed = method.mixed(method.units.sequence(b.target.x))[0][0]
    expected = {
        "uniform": torch.full((16, 16), 1 / 16),
        "identity": torch.eye(16),
        "none": torch.zeros(16, 16),
    }
    assert graph not in expected or torch.equal(mixed, expected[graph])


def test_as_many_are_read_without_labels_as_of_the_target_and_of_all_domains():
    method, b = made(), batch()
    read = torch.cat([method._read(b) for _ in range(8)])
    assert len(read) == 8 * len(b.target.x)
    for images in (b.pooled.x, b.target.x):
        assert any((image == images).flatten(1).all(1).any() for image in read)


@pytest.mark.parametrize("scale", [0, 0.1, 2])
def test_graphs_begin_with_the_share_they_are_given(scale):
    method = made(f"scale={scale}")
    assert [mixture.scale.item() for mixture in method.mixtures] == pytest.approx([scale] * 2)


def test_backward_graphs_draw_on_what_comes_later():
    method, b = made(), batch()
    forwards, backwards = method.mixed(method.units.sequence(b.target.x))
    assert not forwards.triu().any() and not backwards.tril().any()
    assert 0 < method.eval().observe(b, 0.6)["edges"] < 0.5


def test_pretraining_learns_the_context():
    method, b = made(), batch()
    optimiser = torch.optim.Adam(method.directions.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        torch.manual_seed(1)
        loss = method.losses(b, 0.1)["context"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path):
    def config(name):
        values = {"data": "digits", "recipe": "serif-to-handwritten", "labels": 6, "profile": "tiny"}
        values |= {"overrides": "units=8 heads=2", "precision": "32-true", "device": "cpu"}
        return TrainConfig(method="glomo", out=str(tmp_path / name), **values)

    whole, resumed = whole_and_resumed(config, 5, toy_classes(SHAPE))
    one, two = (load_checkpoint(folder / "checkpoint.pt")["method"] for folder in (whole, resumed))
    assert close(list(one.values()), list(two.values()), 0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("patch=5", "an image of 16×16 does not fall into patches of 5×5"),
        ("patch=8 ahead=4", "ahead=4 units are to be predicted and an image has 4"),
        ("units=9 heads=2", "heads=2 must divide units=9"),
        ("graph=some", "graph='some' is unknown"),
        ("first=1", "both stages need steps"),
        ("layers=0", "layers=0 must be ≥ 1"),
        ("scale=-1", "scale=-1 must be ≥ 0"),
    ],
)
def test_bad_input(overrides, message):
    with pytest.raises(InputError, match=message):
        build("glomo", 3, True, overrides, toy_classes(SHAPE).problem)


# --- texts --------------------------------------------------------------------------------------------------


def of_words(length=8, overrides="", words=20):
    torch.manual_seed(0)
    problem = Classification(("negative", "positive"), (length, 1, 1), words)
    method = build("glomo", 1, True, f"units=8 heads=2 {overrides}", problem)
    for p in method.parameters():  # the rows of what is no word, too: a tied softmax moves them
        p.data += 0.3 * torch.randn_like(p)
    return method.eval()


def texts(length=8, words=6):
    """Texts of ``words`` words and what fills them up."""
    torch.manual_seed(3)
    found = torch.randint(1, 20, (5, words))
    return torch.nn.functional.pad(found, (0, length - words)).float()[:, :, None, None]


@pytest.mark.parametrize("graph", ["learned", "uniform", "identity", "none"])
def test_what_fills_a_text_up_changes_nothing(graph):
    long, short = of_words(8, f"graph={graph}"), of_words(6, f"graph={graph}")
    state = long.state_dict()
    short.load_state_dict(state | {"places": state["places"][:6]})
    assert torch.allclose(long.predict(texts(8)), short.predict(texts(6)), atol=1e-5)
    sequence = texts(8).flatten(1).long()
    for one, two in zip(long.mixed(sequence), short.mixed(sequence[:, :6]), strict=True):
        assert torch.allclose(one[:, :6, :6], two, atol=1e-5)
        assert graph == "identity" or not one[:, :, 6:].any()
    for k in (0, 1):
        losses = []
        for method, x in ((long, sequence), (short, sequence[:, :6])):
            read = turned(x, method.units.backwards(x)) if k else x
            losses.append(method.directions[k].loss(read, read > 0, torch.arange(3)))
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5) and losses[0] > 0


def test_backwards_is_its_own_undoing_and_leaves_what_fills_up_behind():
    sequence = torch.tensor([[3, 1, 2, 0], [4, 5, 6, 7]])
    places = Words(4, 8).backwards(sequence)
    assert turned(sequence, places).tolist() == [[2, 1, 3, 0], [7, 6, 5, 4]]
    assert torch.equal(turned(turned(sequence, places), places), sequence)
    graph = torch.rand(2, 3, 4, 4)
    back = turned_graph(graph, places)
    assert torch.equal(back[0, :, 0, 2], graph[0, :, 2, 0]) and torch.equal(back[1], graph[1].flip(-1, -2))
    assert torch.equal(turned_graph(back, places), graph)


def test_the_decoder_of_words_is_the_mean_of_their_cross_entropies():
    embedding = nn.Embedding(7, 4, padding_idx=0).double()
    decoder = WordDecoder(embedding, ahead=2).double()
    features, words = torch.randn(1, 5, 4).double(), torch.tensor([[3, 1, 2, 6, 0]])
    losses = []
    for t in (0, 2):  # from 2 there is one word to come
        state, given = features[:, t][None].contiguous(), torch.zeros(1, 1, 4).double()
        for i in (1, 2):
            out, state = decoder.recurrent(given, state)
            logits = out[0, 0] @ embedding.weight.T + decoder.bias
            if words[0, t + i]:
                losses.append(torch.nn.functional.cross_entropy(logits, words[0, t + i]))
            given = embedding(words[:, t + i : t + i + 1])
    found = decoder(features, words, torch.tensor([0, 2]))
    assert len(losses) == 3 and found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-9)
    assert decoder(features, words * 0, torch.tensor([0, 2])) == 0  # no word at all


def test_a_change_of_a_word_moves_no_forward_graph_before_it():
    method, sequence = of_words(), texts().flatten(1).long()
    other = sequence.clone()
    other[:, 4] = other[:, 4] % 19 + 1
    (one, _), (two, _) = (method.mixed(s) for s in (sequence, other))
    assert torch.allclose(one[:, :4], two[:, :4]) and not torch.allclose(one[:, 4:6], two[:, 4:6])


def test_a_text_shorter_than_what_is_predicted():
    with pytest.raises(InputError, match="ahead=3 units are to be predicted and a text has 3; make ahead"):
        of_words(3)
