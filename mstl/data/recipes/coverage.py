"""Coverage: which pixels sources label, and what may be wrong with that though every file is good."""

from __future__ import annotations

from torch.nn.functional import interpolate

from mstl.data.domain import Domain
from mstl.system.errors import InputError
from mstl.system.notes import note

WHOLE = 2  # a source that labels more than so many times as much as any other may label the whole object


def check_labelled(sources: tuple[Domain, ...]) -> None:
    """Every source labels something.

    Raises:
        InputError: the masks of one are empty in every image.
    """
    for source in sources:
        if not bool(source.masks.any()):
            height, width = source.size
            raise InputError(
                f"source {source.name!r}: the mask is empty in every one of its {len(source)} images at "
                f"{height}×{width}; mark what it shows (any colour but black), or leave the source out"
            )


def note_coverage(sources: tuple[Domain, ...], target: Domain) -> None:
    """Say which source seems to label wholes where others label parts, and which none of the object's places.

    Neither is an error: a collection may label whole objects on purpose, or show them elsewhere in the image.
    """
    shares = [float(source.masks.float().mean()) for source in sources]
    for j, (source, share) in enumerate(zip(sources, shares, strict=True)):
        rest = max(shares[:j] + shares[j + 1 :], default=share)
        if share > WHOLE * rest:
            note(
                f"source {source.name!r} labels {share:.0%} of its pixels, the others {rest:.0%} at most; if "
                "they label parts and it labels whole objects, make sure that this is meant"
            )
        where = interpolate(source.masks.amax(0, keepdim=True).float(), target.size)
        if not bool((where * target.masks.amax(0, keepdim=True)).any()):
            note(
                f"source {source.name!r} never labels a place of the image where the target has an object; "
                "check that its masks lie on its objects, and that it shows what the target shows"
            )
