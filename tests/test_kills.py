"""A run killed at any point, any number of times, ends with the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

KILLS = 30  # of each method


def tensors(state, at: str = "") -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by its place."""
    if isinstance(state, Tensor):
        return {at: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {name: t for key, value in items for name, t in tensors(value, f"{at}.{key}").items()}


@pytest.mark.long
@pytest.mark.trust(
    "equalities",
    "a run killed at random points ends bit for bit as one left alone: weights, optimisers, metrics, scores",
)
@pytest.mark.parametrize("method", ["mstl", "mstl_plus"])
def test_a_killed_run_resumes_to_bit_identical_weights(tmp_path, method, record_property):
    script = Path(__file__).with_name("killing.py")
    environment = {**os.environ, "MSTL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(KILLS), "0", method],
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "hits.json").read_text())
    assert len(report["at step"]) >= 3, "too few checkpoints to go on from"
    record_property("kills", sum(report["hits"].values()))
    for phase, count in sorted(report["hits"].items()):
        record_property(f"kills in {phase}", count)
    assert {"data", "step", "checkpoint", "evaluation"} <= set(report["hits"]), "some phase was never hit"

    whole, killed = (next((tmp_path / name).rglob("manifest.json")).parent for name in ("whole", "killed"))
    states = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (whole, killed)]
    expected, found = map(tensors, states)
    assert expected.keys() == found.keys() and len(expected) > 100
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert states[0]["batches"] == states[1]["batches"]
    assert (whole / "images.csv").read_bytes() == (killed / "images.csv").read_bytes()
    lines = [
        [{**json.loads(line), "seconds": 0} for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (whole, killed)
    ]
    assert lines[0] == lines[1] and [line["step"] for line in lines[0]] == list(range(5, 31, 5))
    left = [path.name for path in (tmp_path / "killed").rglob("*") if path.name.endswith(".tmp")]
    assert left == []
