"""Units that graphs relate: the patches of an image, or the words of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.graphs import ContextDecoder, WordDecoder
from mstl.system.errors import InputError


class Patches:
    """An image as patches of p×p pixels in raster order, and what reads and predicts them.

    Args:
        shape: of an image, (c, h, w).
        patch: p.

    Raises:
        InputError: the image does not fall into such patches.
    """

    def __init__(self, shape: tuple[int, int, int], patch: int) -> None:
        channels, height, width = shape
        if height % patch or width % patch:
            raise InputError(
                f"patch={patch}: an image of {height}×{width} does not fall into patches of {patch}×{patch}; "
                "choose a divisor of both sides"
            )
        self.patch, self.grid = patch, (height // patch, width // patch)
        self.count, self.size = self.grid[0] * self.grid[1], channels * patch * patch

    def sequence(self, images: Tensor) -> Tensor:
        """(n, c, h, w) → (n, T, c·p·p)."""
        return F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)

    def valid(self, sequence: Tensor) -> None:
        """All of them are there."""

    def backwards(self, sequence: Tensor) -> Tensor:
        """Places of the units from the last to the first, (n, T)."""
        return torch.arange(self.count - 1, -1, -1, device=sequence.device).expand(len(sequence), -1)

    def embedding(self, width: int) -> nn.Module:
        return nn.Linear(self.size, width)

    def places(self, width: int) -> nn.Parameter:
        """(T, width), added to patches: neighbours above and below are far away in raster order."""
        return nn.Parameter(torch.randn(self.count, width) / width**0.5)

    def decoder(self, embedding: nn.Module, width: int, ahead: int) -> nn.Module:
        return ContextDecoder(width, self.size, ahead)

    def body(self, given: int, width: int) -> nn.Module:
        return PatchBody(self.grid, given, width)


class Words:
    """A text of T words, of which 0 is none, and what reads and predicts them.

    Args:
        length: T.
        vocabulary: number of words, none of them among them.
    """

    def __init__(self, length: int, vocabulary: int) -> None:
        self.count, self.vocabulary = length, vocabulary

    def sequence(self, texts: Tensor) -> Tensor:
        """(n, T, 1, 1) → int64 (n, T)."""
        return texts.flatten(1).long()

    def valid(self, sequence: Tensor) -> Tensor:
        """Which are words, (n, T)."""
        return sequence > 0

    def backwards(self, sequence: Tensor) -> Tensor:
        """Places of the words from the last to the first, (n, T); what fills a text up stays behind them."""
        places = torch.arange(self.count, device=sequence.device).expand(len(sequence), -1)
        last = (sequence > 0).sum(1, keepdim=True) - 1
        return torch.where(places <= last, last - places, places)

    def places(self, width: int) -> None:
        """Of words none: as in the paper, graphs know their order from convolutions alone."""

    def embedding(self, width: int) -> nn.Module:
        return nn.Embedding(self.vocabulary, width, padding_idx=0)

    def decoder(self, embedding: nn.Embedding, width: int, ahead: int) -> nn.Module:
        return WordDecoder(embedding, ahead)

    def body(self, given: int, width: int) -> nn.Module:
        return WordBody(given, width)


class PatchBody(nn.Module):
    """Two convolutions over the grid of patches, and their mean.

    Shape: (n, T, given), None → (n, width, 1, 1).
    """

    def __init__(self, grid: tuple[int, int], given: int, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.first, self.second = (nn.Conv2d(c, width, 3, padding=1) for c in (given, width))

    def forward(self, x: Tensor, valid: None) -> Tensor:
        x = x.transpose(1, 2).unflatten(-1, self.grid)
        return self.second(self.first(x).relu()).relu().mean((-2, -1), keepdim=True)


class WordBody(nn.Module):
    """Two convolutions along a text, and the largest of each channel; what is no word is 0 throughout.

    Shape: (n, T, given), bool (n, T) → (n, width, 1, 1).
    """

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv1d(c, width, 3, padding=1) for c in (given, width))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        there = valid[:, None]
        x = x.transpose(1, 2) * there
        for layer in (self.first, self.second):
            x = layer(x).relu() * there
        return x.amax(-1)[:, :, None, None]


def turned(sequence: Tensor, places: Tensor) -> Tensor:
    """A sequence (n, T, …) in the order of ``places``, (n, T)."""
    return sequence[torch.arange(len(sequence), device=places.device)[:, None], places]


def turned_graph(graph: Tensor, places: Tensor) -> Tensor:
    """A graph (n, H, T, T) over units in the order of ``places``, its own inverse, as one over the units."""
    rows = turned(graph.transpose(1, 2), places).transpose(1, 2)
    return turned(rows.transpose(1, 3), places).transpose(1, 3)


def spread_over(valid: Tensor | None, like: Tensor) -> Tensor:
    """The graph in which every unit draws on all there are, in equal shares: (n, T, T)."""
    n, count = like.shape[:2]
    there = torch.ones(n, count, device=like.device) if valid is None else valid.float()
    return (there / there.sum(1, keepdim=True).clamp_min(1))[:, None].expand(-1, count, -1)
