"""Predictions of a whole domain."""

from __future__ import annotations

import torch
from torch import Tensor

from mstl.data.augment import to_float
from mstl.data.domain import Domain


@torch.no_grad()
def predict_domain(
    predict, domain: Domain, device: torch.device | str = "cpu", batch_size: int = 64
) -> Tensor:
    """Logits of a whole domain, float32 (n, 1, h, w) on the CPU; ``predict`` maps float images to logits."""
    logits = []
    for start in range(0, len(domain), batch_size):
        images = to_float(domain.images[start : start + batch_size].to(device))
        logits.append(predict(images).float().cpu())
    return torch.cat(logits)
