"""The game in two coordinates: what the book says about it holds for seeds the book does not show."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from mstl.nn import domain_loss, ramp, reverse_gradient
from mstl.report import toys

STEPS = 250


def play(strength: float, seed: int, steps: int = STEPS) -> toys.ToyGame:
    """The notebook's game: the reversal multiplies the discriminator's gradient by −strength·ramp."""
    game = toys.ToyGame(seed=seed)
    for i in range(steps):
        (x_s, y_s), (x_t, _) = game.draw()
        f_s, f_t = game.features(x_s), game.features(x_t)
        task = nn.functional.binary_cross_entropy_with_logits(game.head(f_s), y_s)
        hidden = [reverse_gradient(f, strength * ramp(i / steps)) for f in (f_s, f_t)]
        game.step(task + domain_loss(*map(game.discriminator, hidden)))
        game.sharpen(f_s, f_t)
    return game


def columns(game: toys.ToyGame) -> list[float]:
    """How much of the useful coordinate and of the flag W lets through: the norms of its columns."""
    return game.extractor.weight.detach().norm(dim=0).tolist()


@pytest.fixture(scope="module", params=[1, 2])
def games(request) -> tuple[toys.ToyGame, toys.ToyGame]:
    """The same game without and with reversal."""
    return play(0.0, request.param), play(1.0, request.param)


def test_without_reversal_the_weight_on_the_flag_stays_and_with_it_shrinks(games):
    (useful_alone, flag_alone), (useful, flag) = map(columns, games)
    assert flag_alone > 0.9  # W starts as the identity
    assert flag < 0.25 * flag_alone
    assert min(useful_alone, useful) > 1


def test_what_is_measured_says_the_same(games):
    alone, hidden = (game.measure(strength) for game, strength in zip(games, (0.0, 1.0), strict=True))
    for accuracy in ("discriminator accuracy", "fresh probe"):
        assert alone[accuracy] > 0.75 and abs(hidden[accuracy] - 0.5) < 0.1
    assert alone["gradient ratio"] == 0 < hidden["gradient ratio"]
    assert hidden["target classes right"] > alone["target classes right"] + 0.05
    for measured in (alone, hidden):
        assert measured["source classes right"] > 0.95
        assert all(0 <= value <= 1 for name, value in measured.items() if name != "gradient ratio")


def test_a_seed_decides_the_whole_game():
    one, same, other = (play(1.0, seed, steps=5) for seed in (3, 3, 4))
    assert torch.equal(one.extractor.weight, same.extractor.weight)
    assert one.measure(1.0) == same.measure(1.0)
    assert not torch.equal(one.extractor.weight, other.extractor.weight)


def test_a_game_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    play(1.0, seed=0, steps=2)
    assert torch.equal(torch.rand(3), expected)


def test_the_extractor_starts_as_the_identity_plus_noise_of_known_size():
    game = toys.ToyGame(noise=0.5)
    x = torch.zeros(20000, 2)
    features = game.features(x).detach()
    assert columns(game) == [1, 1]
    assert features.std(0) == pytest.approx(0.5, rel=0.03) and features.mean(0).abs().max() < 0.02
    assert torch.equal(toys.ToyGame(noise=0).features(x), x)


def test_the_points_are_drawn_as_the_equations_say():
    game = toys.ToyGame(gap=1.5, seed=5)
    n = 40000
    for (x, y), side, lean in zip(game.draw(n), (1, -1), (game.LEAN, 0.0), strict=True):
        sign = 2 * y[:, 0] - 1
        assert x.shape == (n, 2) and y.shape == (n, 1) and y.unique().tolist() == [0, 1]
        assert abs(y.mean() - 0.5) < 0.02
        useful, flag = x[:, 0] - sign, x[:, 1] - side * 1.5 - lean * sign
        for rest, spread in ((useful, 0.4), (flag, 0.6)):
            assert abs(rest.mean()) < 0.02 and abs(rest.std() - spread) < 0.02
            assert abs((rest * sign).mean()) < 0.02  # nothing of the class is left


def test_sharpening_moves_the_discriminator_only():
    game = toys.ToyGame(updates=3)
    (x_s, _), (x_t, _) = game.draw()
    f_s, f_t = game.features(x_s), game.features(x_t)
    frozen = [p.clone() for p in (*game.extractor.parameters(), *game.head.parameters())]
    before = domain_loss(game.discriminator(f_s), game.discriminator(f_t))
    game.sharpen(f_s, f_t)
    assert domain_loss(game.discriminator(f_s), game.discriminator(f_t)) < before
    for old, new in zip(frozen, (*game.extractor.parameters(), *game.head.parameters()), strict=True):
        assert torch.equal(old, new)


def test_a_probe_tells_apart_what_differs_and_guesses_where_nothing_does():
    generator = np.random.default_rng(0)
    source, target = generator.normal(0, 1, (300, 2)), generator.normal(0, 1, (300, 2))
    assert abs(toys.probe(source, target) - 0.5) < 0.1
    assert toys.probe(source - 5, target + 5) == 1


def test_a_snapshot_is_what_is_drawn():
    game = toys.ToyGame(seed=2)
    snapshot = game.snapshot(n=40)
    assert snapshot.features.shape == (2, 40, 2) and snapshot.classes.shape == (2, 40)
    assert snapshot.matrix.tolist() == np.eye(2).tolist() and snapshot.boundary.shape == (3,)
    assert ((snapshot.field > 0) & (snapshot.field < 1)).all()
    game.extractor.weight.data.mul_(9)
    assert snapshot.matrix.tolist() == np.eye(2).tolist()  # a copy: later steps do not change it
    assert game.snapshot().extent > snapshot.extent == game.EXTENT  # the plane grows with its points
    ax = toys.draw_plane(snapshot, plt.subplots()[1])
    assert ax.get_xlim() == ax.get_ylim() == (-game.EXTENT, game.EXTENT)
    toys.plane_legend(ax)
    (legend,) = ax.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "source", "target", "class 0", "class 1", "class boundary",
    ]  # fmt: skip
    plt.close("all")
