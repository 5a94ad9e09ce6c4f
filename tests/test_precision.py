"""The precision of a run: who decides, and that a decision lasts."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import toy_task

from mstl.run import precision
from mstl.run.config import TrainConfig
from mstl.run.train import train


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A processor with bfloat16, nothing measured yet, and a cache of its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    monkeypatch.setenv("MSTL_CACHE", str(tmp_path / "cache"))
    precision._calibrated.cache_clear()
    yield
    precision._calibrated.cache_clear()


def forbid_measuring(monkeypatch):
    def measured(width):
        raise AssertionError("measured although nobody asked")

    monkeypatch.setattr(precision, "measured", measured)


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed"])
def test_what_is_asked_for_is_not_measured(asked, monkeypatch):
    forbid_measuring(monkeypatch)
    assert precision.choose(TrainConfig(precision=asked)) == (asked, "as asked")


def test_a_cpu_computes_float16_in_bfloat16_and_the_choice_says_so(monkeypatch):
    forbid_measuring(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    kept, reason = precision.choose(TrainConfig(precision="16-mixed"))
    assert kept == "bf16-mixed" and "16-mixed was asked for" in reason


def test_vectors_a_narrow_network_and_a_processor_without_bfloat16_need_no_calibration(monkeypatch):
    forbid_measuring(monkeypatch)
    assert precision.choose(TrainConfig(width=7)).precision == "32-true"
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False, raising=False)
    assert precision.choose(TrainConfig(width=16), vectors=True).precision == "32-true"
    choice = precision.choose(TrainConfig(width=16))
    assert choice == ("32-true", "the processor has no bfloat16")


@pytest.mark.parametrize(
    ("overrides", "ours"),
    [
        ("", True),
        ("encoder=unet attention=none", True),
        ("encoder=resnet18", False),
        ("weights=imagenet encoder=unet", False),
        ("models=a,b", False),
    ],
)
def test_a_network_that_was_not_calibrated_does_not_take_the_word_of_one_that_was(
    overrides, ours, monkeypatch
):
    """EfficientNet takes ten times as long in bfloat16 where our U-Net takes less time than in float32."""
    monkeypatch.setattr(precision, "measured", lambda width: 0.5)
    choice = precision.choose(TrainConfig(width=16, overrides=overrides))
    assert choice.precision == ("bf16-mixed" if ours else "32-true")
    asked = TrainConfig(width=16, overrides=overrides, precision="bf16-mixed")
    assert precision.choose(asked).precision == "bf16-mixed"


@pytest.mark.parametrize(("ratio", "chosen"), [(0.6, "bf16-mixed"), (1.0, "bf16-mixed"), (1.7, "32-true")])
def test_the_faster_one_is_taken_and_the_decision_lasts(ratio, chosen, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "measured", lambda width: ratio)
    assert precision.choose(TrainConfig(width=8)).precision == chosen
    precision._calibrated.cache_clear()  # as in another process
    forbid_measuring(monkeypatch)
    choice = precision.choose(TrainConfig(width=8))
    assert choice.precision == chosen and f"{ratio:.2f} of float32's time at width 8" in choice.reason
    with pytest.raises(AssertionError, match="measured although"):
        precision.choose(TrainConfig(width=16))  # another width is another question
    monkeypatch.setattr(torch, "get_num_threads", lambda: 97)
    with pytest.raises(AssertionError, match="measured although"):
        precision.choose(TrainConfig(width=8))  # and so is another number of threads


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": "b"}', '{"a": -1, "b": null}'])
def test_a_damaged_calibration_is_made_anew(content, monkeypatch, tmp_path):
    file = tmp_path / "cache" / "calibration.json"
    file.parent.mkdir()
    file.write_text(content)
    monkeypatch.setattr(precision, "measured", lambda width: 0.5)
    assert precision.calibrated(8) == 0.5
    assert list(json.loads(file.read_text()).values()) == [0.5]


def test_without_a_writable_cache_a_process_stays_with_its_choice(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    ratios = iter([0.5, 2.0])
    monkeypatch.setattr(precision, "measured", lambda width: next(ratios))
    assert [precision.calibrated(8) for _ in range(2)] == [0.5, 0.5]


def test_measuring_gives_a_ratio_and_moves_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert 0.01 < precision.measured(8) < 100
    assert torch.equal(torch.get_rng_state(), before)


def test_the_manifest_says_what_was_chosen_and_why(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "measured", lambda width: 1.25)
    config = TrainConfig(profile="tiny", width=8, steps=2, labels=4, out=str(tmp_path / "runs"), device="cpu")
    manifest = json.loads((train(config, task=toy_task()) / "manifest.json").read_text())
    assert manifest["precision"] == "32-true"
    assert manifest["precision_because"] == ("calibrated: bfloat16 takes 1.25 of float32's time at width 8")
