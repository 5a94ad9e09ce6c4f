"""A torchvision ResNet as encoder, with the interface of the U-Net's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from mstl.nn.unet import check_size, double_convolution, normalisation
from mstl.system.errors import InputError

NAMES = ("resnet18", "resnet34", "resnet50")
STEM_WIDTH = 32


class ResNetEncoder(nn.Module):
    """A ResNet's stages below a full-resolution stem of our own.

    The ResNet starts at half the image's size; the stem (two 3x3 convolutions, 32 channels) adds the level a
    mask's outline needs, so that a :class:`~mstl.nn.Decoder` ends at the size of the image.

    Args:
        name: "resnet18", "resnet34" or "resnet50".
        weights: None for random weights, "DEFAULT" (or a name of torchvision's) for pre-trained ones, which
            torchvision downloads once.
        depth: levels, 2 … 6; the default ends with the ResNet's third stage at stride 16.
        norm: "group", "batch", "none" or "frozen" (statistics and affine parameters of the pre-training).
            None means "frozen" with weights and "group" without: batch statistics would mix domains.

    Shape:
        images (n, 3, h, w), scaled as everywhere in the package → ``depth`` maps, fine to coarse, level l at
        1/2^l of the image's size; channels (32, 64, 64, 128, 256) for "resnet18".

    Raises:
        InputError: unknown name, norm or weights, weights that cannot be downloaded, sides of the images that
            are not multiples of ``stride``.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(
        self, name: str = "resnet18", weights: str | None = None, depth: int = 5, norm: str | None = None
    ) -> None:
        super().__init__()
        if name not in NAMES:
            raise InputError(f"encoder must be one of {', '.join(NAMES)}; got {name!r}")
        if not 2 <= depth <= 6:
            raise InputError(f"depth of a ResNet encoder must lie between 2 and 6; got {depth}")
        norm = norm or ("frozen" if weights else "group")
        if norm == "domain":
            raise InputError("norm=domain needs encoder=unet: the layers of a ResNet take no domain")
        if weights and norm not in ("frozen", "batch"):
            raise InputError(f"pre-trained weights need norm='frozen' or 'batch'; got {norm!r}")
        network = _load(name, weights, norm)
        stages = [
            nn.Sequential(network.conv1, network.bn1, network.relu),
            nn.Sequential(network.maxpool, network.layer1),
            network.layer2,
            network.layer3,
            network.layer4,
        ]
        self.stem = double_convolution(3, STEM_WIDTH, "group" if norm == "frozen" else norm)
        self.stages = nn.ModuleList(stages[: depth - 1])
        widths = (64, *(64 * 2**stage * network.layer1[0].expansion for stage in range(4)))
        self.channels = (STEM_WIDTH, *widths[: depth - 1])
        self.stride = 2 ** (depth - 1)
        # Ours are (v − 0.5)·4 for v in [0, 1]; the ResNet's are (v − mean) / deviation, ImageNet's.
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
        self.register_buffer("scale", 0.25 / deviation, persistent=False)
        self.register_buffer("shift", (0.5 - mean) / deviation, persistent=False)

    def forward(self, images: Tensor, domain: int | None = None) -> tuple[Tensor, ...]:
        check_size(images.shape[-2:], self.stride)
        features = [self.stem(images)]
        x = images * self.scale + self.shift
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features)


# torchvision takes longer to import than torch, and only those who ask for a ResNet need it.
def _load(name: str, weights: str | None, norm: str) -> nn.Module:
    from torchvision.models import get_model
    from torchvision.ops import FrozenBatchNorm2d

    def layer(channels: int) -> nn.Module:
        return FrozenBatchNorm2d(channels) if norm == "frozen" else normalisation(norm, channels)

    try:
        network = get_model(name, weights=None, norm_layer=layer)
        if weights is not None:
            network.load_state_dict(_pretrained(name, weights))
        return network
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"weights {weights!r} of {name} could not be downloaded or read ({error}); check the network, "
            f"put the file into {torch.hub.get_dir()}/checkpoints, or set weights=None"
        ) from error
    except (KeyError, TypeError) as error:
        raise InputError(f"weights of {name} must be None or 'DEFAULT'; got {weights!r}") from error


def _pretrained(name: str, weights: str) -> dict[str, Tensor]:
    """torchvision's weights, without running code: by default torch unpickles whatever lies in its folder.

    Raises:
        InputError: the file in torch's folder is not the one its name's checksum belongs to.
    """
    from torchvision.models import get_model_weights

    chosen = get_model_weights(name).verify(weights)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(chosen.url).path).name
    known = file.stem.rpartition("-")[2]
    if file.exists():
        with open(file, "rb") as stored:
            if not hashlib.file_digest(stored, "sha256").hexdigest().startswith(known):
                raise InputError(f"{file} is damaged: its checksum is not {known}; delete it")
    return chosen.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
