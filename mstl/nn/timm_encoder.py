"""Any network of timm as encoder, with the interface of the U-Net's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mstl.nn.frozen import fix_statistics
from mstl.nn.unet import double_convolution, group_count
from mstl.nn.weights import RANDOM, Weights
from mstl.system.errors import InputError


class TimmEncoder(nn.Module):
    """The stages of a network of timm.

    For masks, below a full-resolution stem of our own: most networks start at half or a quarter of the
    image's size, and the stem (two 3x3 convolutions) adds the level that a mask's outline needs. For classes,
    all stages and, last, what the network makes of them before it pools.

    Input scaling belongs to the weights: images come scaled as everywhere in the package and are brought to
    the mean and deviation that the network was trained with.

    Args:
        name: of timm's, ``resnet18`` or ``tf_efficientnet_lite0``: every network with a pyramid, whose stages
            get coarser one by one.
        weights: what it starts from; random by default.
        width: channels of the stem.
        depth: levels of maps for masks, the stem included; 0 is all.
        norm: what becomes of batch normalisation. With "group" every image is normalised by itself: by group
            normalisation where weights are random, and where they are not by the statistics and the affine
            parameters that came with them, which stay. "batch" leaves it as it is.
        masks: stem and stages, or the whole network.
        channels: of an image, 3 or 1; one is shown to the network three times.

    Shape:
        images (n, channels, h, w) → maps (n, channels[l], h_l, w_l), fine to coarse.

    Raises:
        InputError: no such network, one without a pyramid, a depth or norm it does not have, weights that
            cannot be had or are another network's, images smaller than one place of the coarsest map.

    Source: Wightman, "PyTorch Image Models", doi 10.5281/zenodo.4414861.
    """

    stride = 1  # sides need not halve evenly

    def __init__(
        self,
        name: str = "resnet18",
        weights: Weights = RANDOM,
        *,
        width: int = 16,
        depth: int = 0,
        norm: str = "group",
        masks: bool = True,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise InputError(f"encoder={name} reads images of 1 or 3 channels; got {channels}")
        if norm not in ("group", "batch"):
            raise InputError(f"encoder={name} needs norm=group or norm=batch; got norm={norm}")
        network = weights.network(name)
        stages = _pyramid(network, name)
        if depth and not 2 <= depth <= len(stages) + 1:
            raise InputError(f"depth of {name} must lie in 2 … {len(stages) + 1}; got {depth}")
        stages = stages[: depth - 1] if depth and masks else stages
        self.name, self.masks, self.reduction = name, masks, stages[-1]["reduction"]
        self.levels = list(range(len(stages)))
        #: the modules that a stage ends with, for who wants some to stand still
        self.stage_modules = tuple(f"network.{stage['module']}" for stage in stages)
        widths = tuple(stage["num_chs"] for stage in stages)
        if masks:
            network.prune_intermediate_layers(self.levels, prune_norm=True, prune_head=True)
            self.stem = double_convolution(channels, width, norm)
            self.channels = (width, *widths)
        else:
            self.channels = (*widths, network.num_features)
        #: which of the maps are those of stages
        self.stages = slice(1, None) if masks else slice(len(stages))
        mean, deviation = (torch.tensor(network.pretrained_cfg[key]) for key in ("mean", "std"))
        if norm == "group":
            network = fix_statistics(network) if weights.given else _grouped(network)
        self.network = network.to(memory_format=torch.channels_last)  # 1.4 times as fast, on a CPU, too
        # Ours are (v − 0.5)·4 for v in [0, 1]; the network's are (v − mean) / deviation.
        self.register_buffer("scale", (0.25 / deviation).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - mean) / deviation).view(3, 1, 1), persistent=False)

    def pooling(self) -> tuple[nn.Module, int]:
        """The mean over all places, as these networks are trained, and its channels."""
        return nn.AdaptiveAvgPool2d(1), self.channels[-1]

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        check_reduction(self.name, self.reduction, images.shape[-2:])
        x = images * self.scale + self.shift
        x = x.contiguous(memory_format=torch.channels_last)
        if self.masks:
            maps = self.network.forward_intermediates(x, indices=self.levels, intermediates_only=True)
            return (self.stem(images), *maps)
        final, maps = self.network.forward_intermediates(x, indices=self.levels)
        return (*maps, final)


def check_reduction(name: str, reduction: int, size: tuple[int, int]) -> None:
    """Raises:
    InputError: of images of this height and width nothing is left after that reduction.
    """
    if min(size) < reduction:
        raise InputError(
            f"encoder={name} makes images {reduction} times smaller, and these have "
            f"{size[0]}x{size[1]} pixels "
            "(height x width); take larger ones, for masks a smaller depth, or another encoder"
        )


def _pyramid(network: nn.Module, name: str) -> list[dict[str, Any]]:
    """Channels, reduction and last module of each stage."""
    stages = list(getattr(network, "feature_info", ()))
    able = all(hasattr(network, part) for part in ("forward_intermediates", "prune_intermediate_layers"))
    if not able or len(stages) < 2 or any(a["reduction"] >= b["reduction"] for a, b in pairwise(stages)):
        raise InputError(
            f"encoder={name} has no pyramid of maps from fine to coarse; choose one that has, such as "
            f"resnet18, "
            "convnext_atto or tf_efficientnet_lite0"
        )
    return stages


def _grouped(network: nn.Module) -> nn.Module:
    """Group instead of batch normalisation; timm's layers may have an activation in them."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = nn.GroupNorm(group_count(child.num_features), child.num_features)
                rest = [getattr(child, part) for part in ("drop", "act") if hasattr(child, part)]
                setattr(module, name, nn.Sequential(norm, *rest))
    return network
