"""LeNet, for digits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mstl.nn.unet import Layers, normalisation

CHANNELS, UNITS, SIDE = (20, 50), 500, 4  # of the map of a 28×28 image


class LeNet(nn.Module):
    """Two 5x5 convolutions, each max-pooled to half its size; the 500 units that follow are its pooling.

    Args:
        in_channels: of the images.
        norm: "batch" or "domain" normalise after each convolution; with "group" and "none" nothing does, as
            in the original.

    Shape: images (n, in_channels, h, w) → one map (n, 50, 4, 4); of other sizes than 28×28 the map is
    averaged to that size.

    Source: LeCun et al., Proc. IEEE 1998, with the widths of Caffe's LeNet, which ADDA uses (Tzeng et al.,
    CVPR 2017).
    """

    channels = (CHANNELS[-1],)
    stride = 1
    stage_modules, stages = ("layers",), slice(None)

    def __init__(self, in_channels: int = 3, norm: str = "none") -> None:
        super().__init__()
        norm = norm if norm in ("batch", "domain") else "none"
        layers = []
        for inputs, outputs in zip((in_channels, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, 5),
                normalisation(norm, outputs),
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
        self.layers = Layers(*layers)

    def pooling(self) -> tuple[nn.Module, int]:
        """500 units that read the whole map."""
        return nn.Sequential(nn.Conv2d(CHANNELS[-1], UNITS, SIDE), nn.ReLU()), UNITS

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        features = self.layers(images, domain)
        if features.shape[-2:] != (SIDE, SIDE):
            features = F.adaptive_avg_pool2d(features, SIDE)
        return (features,)
