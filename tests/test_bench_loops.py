"""What the benchmarks compare is the same work: stacked and looped networks, files and task, bytes."""

from __future__ import annotations

import counting
import photographs
import plain_loop
import pytest
import torch
from conftest import toy_task
from stacked import Stacked, looped

from mstl.data.augment import to_float
from mstl.nn import SubNetworks
from mstl.run.config import TrainConfig


def test_stacked_sub_networks_compute_what_the_loop_over_them_computes():
    torch.manual_seed(0)
    networks = SubNetworks(3, width=4).double()
    images = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    stacked = Stacked(networks)
    torch.testing.assert_close(stacked(images), looped(networks, images))
    stacked(images).square().sum().backward()
    looped(networks, images).square().sum().backward()
    for name, together in zip(stacked.names, stacked.stacked, strict=True):
        apart = [dict(network.named_parameters())[name].grad for network in networks]
        torch.testing.assert_close(together.grad, torch.stack(apart))


@pytest.fixture
def files(tmp_path):
    task = toy_task(size=(32, 64), source_size=(16, 32))
    photographs.write_task(task, tmp_path, factor=2)
    return task, tmp_path


def test_files_hold_the_images_and_masks_of_the_task(files):
    task, folder = files
    whole = task.validation.size
    for name, domain in {"source1": task.sources[1], "labelled": task.labelled}.items():
        read = photographs.Photographs(folder / name, domain.size, whole)
        assert len(read) == len(domain)
        image, mask = read[2]
        assert torch.equal(mask, domain.masks[2].float())
        assert (image - to_float(domain.images[2])).abs().mean() < 0.25  # JPEG of noise


@pytest.mark.parametrize("advice", [False, True])
def test_the_plain_loop_learns(files, advice):
    task, folder = files
    config = TrainConfig(profile="tiny", learning_rate=0.01)
    loop = plain_loop.PlainLoop(config, task, folder, advice=advice)
    loop.advice = False  # keep the history
    for _ in range(12):
        loop.step()
    totals = loop.history[7::8]
    assert len(totals) == 12 and sum(totals[-3:]) < 0.9 * sum(totals[:3])
    assert loop.predict(to_float(task.validation.images)).shape == task.validation.masks.shape


def test_bytes_count_what_is_read_and_written_and_no_views():
    x = torch.ones(10, 10)
    with counting.ByteCounter() as counter:
        assert len(x.view(100)[:50]) == 50
    assert counter.bytes == 0
    with counting.ByteCounter() as counter:
        x + x.T  # reads two looks at the same memory, writes one
    assert counter.bytes == 3 * 400
