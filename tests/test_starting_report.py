"""The pages on trained networks: what their figures show is so, and what was not reached is not said so."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import toy_classes
from test_family_report import SEEDS, spent, table

from mstl.methods import build
from mstl.report.family.bars import alike
from mstl.report.starting import bars, figures, inherited
from mstl.run.config import TrainConfig
from mstl.run.train import Trainer

START = "encoder=tf_efficientnet_lite0+weights=imagenet"
LEVELS = {
    "target_only+encoder=tf_efficientnet_lite0": 0.40,
    f"fine_tuning+{START}+weight=1e-3": 0.60,
    f"l2_sp+{START}+weight=1e-1": 0.60,
    f"delta+{START}+weight=1e-5": 0.55,
    f"afa+{START}+weight=1e-5+weight_channels=1e-5": 0.70,
    f"afa+{START}+weight=1e-5+weight_channels=1e-5+attention=uniform": 0.75,
}


def by_labels(levels, labels=(50, 100)):
    return pd.concat([table(levels, ["a-to-b"], "classes").assign(labels=n) for n in labels])


def test_chain_bars_say_which_signs_hold():
    cars = alike(by_labels(LEVELS))
    found = bars.chain_bars(cars, spent(cars))
    assert list(found["bar"].value_counts().sort_index()) == [1, 8, 2]
    assert found[found["bar"] == "S1"]["labels"].tolist() == [50]
    (first,) = found[found["bar"] == "S1"].to_dict("records")
    assert first["reached"] == "yes" and first["difference"] == pytest.approx(10, abs=3)
    assert first["seeds"] == len(SEEDS) and first["against"] == "L2"
    chain = found[(found["bar"] == "S2") & (found["labels"] == 100)].set_index("claim")["reached"].to_dict()
    assert chain == {
        "AFA over DELTA": "yes", "DELTA over L2-SP": "no", "L2-SP over L2": "yes", "L2 over scratch": "yes",
    }  # fmt: skip
    assert set(found[found["bar"] == "S3"]["reached"]) == {"no"}  # its control is better


def test_the_control_is_not_taken_for_the_method():
    """Where uniform attention is the better one, S1 still is of AFA."""
    cars = alike(by_labels(LEVELS, (50,)))
    assert "afa" in set(cars["method"]) and "afa+attention=uniform" in set(cars["method"])
    titles = ["scratch", "L2", "L2-SP", "DELTA", "AFA", "AFA, uniform attention"]
    assert list(bars.names(cars).values()) == titles
    without = cars[cars["method"] != "afa"]
    found = bars.chain_bars(without, spent(without)).set_index("bar")
    assert found.loc["S1", "reached"] == found.loc["S3", "reached"] == "not run"


def test_differences_are_to_plain_fine_tuning_in_every_setting():
    cars = alike(by_labels(LEVELS))
    found = bars.over(cars)
    assert "fine_tuning" not in set(found["method"]) and len(found) == 2 * (len(LEVELS) - 1)
    expected = {"target_only": -20, "l2_sp": 0, "delta": -5, "afa": 10, "afa+attention=uniform": 15}
    for row in found.itertuples():
        assert row.difference == pytest.approx(expected[row.method], abs=3) and row.low <= row.high
    figure = figures.by_labels(found, {"afa": "AFA", "delta": "DELTA"})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["AFA", "DELTA"]
    plt.close(figure)


MODELS = "models=tf_efficientnet_lite0@imagenet,mobilenet"


def test_teachers_are_read_from_names():
    assert bars.teachers(f"amcf+{MODELS}") == ("efficientnet_lite0 imagenet", "mobilenet")
    assert bars.teachers(f"fine_tuning+{START}") == ("efficientnet_lite0 imagenet",)
    assert bars.teachers("fine_tuning+weights=birds+weight=1e-3") == ("birds",)
    assert bars.teachers("afa+weights=birds") == bars.teachers("amcf") == ()


@pytest.mark.parametrize(
    ("amcf", "single", "mean"), [(0.75, "yes", "yes"), (0.55, "no", "no"), (0.66, "yes", "no")]
)
def test_teacher_bars_are_of_the_same_networks(amcf, single, mean):
    levels = {
        f"fine_tuning+{START}+weight=1e-3": 0.60,
        "fine_tuning+weights=mobilenet+weight=1e-3": 0.65,
        "fine_tuning+weights=birds+weight=1e-3": 0.90,  # not among those of this group
        f"amcf+{MODELS}+weight=0.2": amcf,
        f"amcf+{MODELS}+weight=0": 0.70,
    }
    cars = by_labels(levels, (50,))
    found = bars.teacher_bars(cars, spent(cars)).set_index("bar")
    assert len(found) == 2
    assert found.loc["T1", "claim"].startswith("AMCF of efficientnet_lite0 imagenet, mobilenet")
    assert found.loc["T1", "difference"] == pytest.approx(100 * (amcf - 0.65), abs=3)
    assert (found.loc["T1", "reached"], found.loc["T2", "reached"]) == (single, mean)


# --- figures ------------------------------------------------------------------------------------------------


def curve(figure, line=0):
    (ax, *_) = figure.axes
    x, y = ax.lines[line].get_data()
    plt.close(figure)
    return np.asarray(x, dtype=float), np.asarray(y, dtype=float)


@pytest.mark.parametrize("moved", [(1.0, 4.0), (1.0, 1.0), (3.0, 1.0)])
def test_the_figure_of_looking_away_has_its_minimum_where_the_page_says(moved):
    x, y = curve(figures.looking_away(moved))
    share = (1 / moved[0]) / (1 / moved[0] + 1 / moved[1])
    assert x[y.argmin()] == pytest.approx(share, abs=0.01)
    assert y[50] == pytest.approx(sum(moved) / 2)  # even weights: half the squared distance


def test_what_is_held_evenly_lies_on_the_dotted_line_however_far_it_moved():
    torch.manual_seed(0)
    task = toy_classes((3, 32, 32))
    method = build("afa", 1, True, "encoder=unet attention=uniform layers=2", task.problem, width=4).eval()
    with torch.no_grad():
        for p in method.network.encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    figure = figures.held_against_moved(method, task.test.images, ["fine", "coarse"])
    assert len(figure.axes) == 2
    for ax, channels in zip(figure.axes, (16, 32), strict=True):
        moved, held = ax.lines[0].get_data()
        assert len(moved) == channels and np.allclose(held, 1, atol=1e-5) and (np.asarray(moved) > 0).all()
    plt.close(figure)


def test_a_norm_pulls_equally_hard_however_far_apart_networks_are():
    x, y = curve(figures.pull())
    assert y[0] == 0 and np.allclose(y[1:], y[1])
    x, y = curve(figures.pull(), 1)
    assert np.allclose(y, x * y[-1] / x[-1])


def test_what_choosing_on_test_promises_is_never_less():
    table = pd.DataFrame(
        {"cuts": ["1-2", "3-4", "0-0"], "validation": [0.5, 0.9, 0.9], "test": [0.95, 0.6, 0.7]}
    )
    assert figures.flattery(table) == {"chosen on validation": 60.0, "chosen on test": 95.0}
    plt.close(figures.search(table))


def test_searches_are_found_by_seed(tmp_path):
    (tmp_path / "classes").mkdir()
    for seed in (10, 2):
        pd.DataFrame({"cuts": [f"{seed}-0"]}).to_csv(tmp_path / f"classes/layers-{seed}.csv")
    found = figures.searches(tmp_path, "classes")
    assert list(found) == [2, 10] and found[10]["cuts"][0] == "10-0"


# --- what is inherited --------------------------------------------------------------------------------------

G = "generator=digits-low"
INHERITED = {
    "target_only": 0.60,
    f"distillation+{G}+weight=1": 0.62,
    f"distillation+{G}+weight=1+match=logits": 0.64,
    f"pp_pssl+{G}+weight=0.01": 0.70,
    f"pp_pssl+{G}+weight=0": 0.80,
    f"pp_pssl+{G}+weight=0.01+condition=random": 0.90,
}


def test_bars_of_what_is_inherited_are_of_both_stages_and_not_of_a_control():
    cars = by_labels(INHERITED, (10, 50))
    found = inherited.inherited_bars(cars, spent(cars))
    assert list(found["bar"].value_counts().sort_index()) == [1, 2, 2]
    first = found[found["labels"] == 10].set_index("bar")
    assert first["reached"].to_dict() == {"I1": "yes", "I2": "yes", "I3": "no"}
    for bar, expected in {"I1": 10, "I2": 6, "I3": -10}.items():
        assert first.loc[bar, "difference"] == pytest.approx(expected, abs=3)
    more = {f"pp_pssl+{G}+first=0+weight=0": 0.1, f"pp_pssl+{G}+weight=0.001": 0.5}
    cars = by_labels(more | INHERITED, (10,))  # neither is taken for the first stage, or for the best λ
    same = inherited.inherited_bars(cars, spent(cars)).set_index("bar")
    assert same["reached"].to_dict() == first["reached"].to_dict()
    without = cars[~cars["method"].str.contains("weight=0.0")]
    assert set(inherited.inherited_bars(without, spent(without))["reached"]) == {"not run"}


class Generator:
    """Draws its class as the brightness of an image."""

    class problem:
        classes = ("a", "b", "c")

    def draw(self, classes):
        return classes.view(-1, 1, 1, 1).float().expand(-1, 3, 4, 4) - 1


class Judge:
    """Takes every image for a or for c."""

    def predict(self, x):
        level = x.mean((1, 2, 3))
        return torch.stack((1 - level, torch.zeros_like(level), level), 1)[:, :, None, None]


def test_the_share_of_drawn_images_that_are_read_as_meant():
    assert inherited.recognised(Generator(), Judge(), each=50) == pytest.approx(200 / 3)
    plt.close(inherited.drawn(Generator(), shown=4))


def test_what_a_run_takes_images_for_is_what_its_accuracy_counts():
    task = toy_classes((3, 28, 28))
    config = TrainConfig(data="digits", method="target_only", labels=6, profile="tiny", device="cpu")
    trainer = Trainer(config, task)
    trainer.update()
    found = figures.taken_for(trainer, task.test)
    assert found.shape == (len(task.test),) and set(found.tolist()) <= {0, 1, 2}
    right = (found == task.test.labels).float().mean().item()
    assert figures.accuracy(trainer, task.test) == pytest.approx(100 * right)
