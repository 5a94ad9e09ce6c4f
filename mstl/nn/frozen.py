"""Parts of a network that stand still: no gradient, and no statistics of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from torch import nn

from mstl.system.errors import InputError


def fix_statistics(module: nn.Module) -> nn.Module:
    """The module with batch normalisation whose statistics and affine parameters are constants.

    Such a layer treats every image by itself, in training as in evaluation.
    """
    from timm.layers import freeze_batch_norm_2d  # timm takes seconds to import

    return freeze_batch_norm_2d(module)


def freeze(module: nn.Module) -> nn.Module:
    """The module with nothing left to learn."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return fix_statistics(module)


def freeze_stages(encoder: nn.Module, count: int) -> None:
    """Freeze the first ``count`` stages of an encoder, and whatever comes before them.

    Raises:
        InputError: it has fewer.
    """
    ends = encoder.stage_modules
    if not 0 <= count <= len(ends):
        raise InputError(
            f"frozen={count}: this encoder has {len(ends)} stages; choose 0 … {len(ends)} or all"
        )
    if count:
        last = ends[count - 1]
        names = [name for name, _ in encoder.named_modules()]
        end = max(i for i, name in enumerate(names) if name == last or name.startswith(f"{last}."))
        _freeze(encoder, [name for name in names[: end + 1] if not name.startswith("stem")])


def convolutions(encoder: nn.Module) -> list[str]:
    """Names of the weights of the convolutions of an encoder, in their order."""
    return [name for name, p in encoder.named_parameters() if p.ndim == 4]


def freeze_before(encoder: nn.Module, cut: int) -> None:
    """Freeze every parameter in front of the convolution number ``cut``, counted from 0.

    Raises:
        InputError: there are fewer convolutions.

    Source: the layer selection of AMCF; the released code leaves the statistics of a frozen layer running.
    """
    found = convolutions(encoder)
    if not 0 <= cut <= len(found):
        raise InputError(f"cut={cut}: this encoder has {len(found)} convolutions; choose 0 … {len(found)}")
    names = [name for name, _ in encoder.named_parameters()]
    last = names.index(found[cut]) if cut < len(found) else len(names)
    free = {name.rpartition(".")[0] for name in names[last:]}
    _freeze(encoder, [name.rpartition(".")[0] for name in names[:last]], free)


def _freeze(encoder: nn.Module, names: Iterable[str], free: Iterable[str] = ()) -> None:
    """Freeze the layers of these names that have no others below them."""
    for name in dict.fromkeys(names):
        layer = encoder.get_submodule(name)
        if name in free or not name:
            continue
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(False)
        fixed = fix_statistics(layer) if isinstance(layer, nn.BatchNorm2d) else layer
        if fixed is not layer:
            parent, _, last = name.rpartition(".")
            setattr(encoder.get_submodule(parent), last, fixed)


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy with nothing left to learn."""
    return freeze(deepcopy(module))
