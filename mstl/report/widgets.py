"""Widgets that stay alive in the published page, where no kernel runs.

Every state is drawn beforehand; a slider or a menu is linked in the browser to a stack of pictures.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mstl.system.errors import InputError


def png(figure: Figure, dpi: int = 80) -> bytes:
    """A figure as PNG bytes; the figure is closed, so that a notebook does not show it twice."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    plt.close(figure)
    return buffer.getvalue()


def jpeg(figure: Figure, dpi: int = 80) -> bytes:
    """A figure as JPEG bytes, a few times smaller than PNG where it shows photographs; it is closed, too."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88})
    plt.close(figure)
    return buffer.getvalue()


def frames(pictures: Sequence[bytes], labels: Sequence[str], description: str) -> widgets.VBox:
    """A slider over pre-drawn pictures, linked to the stack in the browser; it begins at the last one.

    A film of training begins with a network that knows nothing: what a reader came for is its end.

    Args:
        pictures: PNG or JPEG bytes, one a position.
        labels: a short text a position, shown above the picture.
        description: what the slider changes.

    Raises:
        InputError: no picture, or another number of labels.
    """
    _check(pictures, labels)
    slider, controls = _player(len(pictures), description, len(pictures) - 1)
    stack = _stack(pictures, labels, len(pictures) - 1)
    widgets.jslink((slider, "value"), (stack, "selected_index"))
    return widgets.VBox([controls, stack])


def menu(pictures: Sequence[bytes], labels: Sequence[str], description: str) -> widgets.VBox:
    """A drop-down menu over pre-drawn pictures, linked in the browser; arguments as in `frames`."""
    _check(pictures, labels)
    choice = widgets.Dropdown(
        options=list(labels), index=0, description=description, style={"description_width": "initial"}
    )
    stack = _stack(pictures, [""] * len(pictures))
    widgets.jslink((choice, "index"), (stack, "selected_index"))
    return widgets.VBox([choice, stack])


def films(
    films: Mapping[str, Sequence[bytes]],
    labels: Sequence[str],
    menu: str,
    slider: str,
    first: int | None = None,
) -> widgets.VBox:
    """A menu of films and one slider over their frames: change the film and stay at the same moment.

    Args:
        films: from a name in the menu to its frames, PNG or JPEG bytes.
        labels: a short text a frame, the same for all films.
        menu: what the menu changes.
        slider: what the slider changes.
        first: the frame it begins at, the last by default.

    Raises:
        InputError: no film, no frame, or films of another length than ``labels``.
    """
    if not films:
        raise InputError("films needs at least one film; got none")
    for pictures in films.values():
        _check(pictures, labels)
    choice = widgets.Dropdown(
        options=list(films), index=0, description=menu, style={"description_width": "initial"}
    )
    first = len(labels) - 1 if first is None else first
    position, controls = _player(len(labels), slider, first)
    stacks = [_stack(pictures, labels, first) for pictures in films.values()]
    for stack in stacks:
        widgets.jslink((position, "value"), (stack, "selected_index"))
    shown = widgets.Stack(stacks, selected_index=0)
    widgets.jslink((choice, "index"), (shown, "selected_index"))
    return widgets.VBox([choice, controls, shown])


def _player(frames: int, description: str, first: int) -> tuple[widgets.IntSlider, widgets.Widget]:
    """A slider at one of some frames, and the line that holds it, with a button that plays them."""
    last = frames - 1
    slider = widgets.IntSlider(
        value=first, min=0, max=last, description=description, readout=False,
        style={"description_width": "initial"}, layout=widgets.Layout(width="min(100%, 28rem)"),
    )  # fmt: skip
    if not last:
        return slider, slider
    play = widgets.Play(value=first, min=0, max=last, interval=400, show_repeat=False)
    widgets.jslink((play, "value"), (slider, "value"))
    return slider, widgets.HBox([play, slider])


def _stack(pictures: Sequence[bytes], labels: Sequence[str], shown: int = 0) -> widgets.Stack:
    layout = widgets.Layout(max_width="100%", height="auto", object_fit="contain")
    pages = []
    for picture, text in zip(pictures, labels, strict=True):
        kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
        image = widgets.Image(value=picture, format=kind, layout=layout)
        pages.append(widgets.VBox([widgets.Label(text), image]) if text else image)
    return widgets.Stack(pages, selected_index=shown)


def _check(pictures: Sequence[bytes], labels: Sequence[str]) -> None:
    if not pictures or len(pictures) != len(labels):
        raise InputError(
            f"{len(pictures)} pictures need as many labels, at least one; got {len(labels)} labels"
        )
