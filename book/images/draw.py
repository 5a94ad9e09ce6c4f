"""Draws the diagrams of the book: ``python book/images/draw.py`` writes the SVG files beside this script.

Every picture carries its own light panel, so that it reads the same in the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from pathlib import Path

HERE = Path(__file__).parent
INK, MUTED, PANEL, EDGE = "#1c2430", "#566072", "#f7f8fb", "#c9cfda"
# One colour a source, in every picture (Okabe and Ito's palette keeps them apart for colour-blind readers).
SOURCES = {"front": "#0072b2", "cabin": "#00805d", "rear": "#c04f00"}
TARGET, ATTENTION, ADVERSARY = "#5b4a9c", "#9a6700", "#b0407f"

CAR_BODY = (
    "M6 74 L8 56 Q10 50 22 48 L62 42 L88 20 Q92 16 100 16 L156 16 Q166 16 174 24 "
    "L192 42 L218 46 Q232 49 233 62 L233 74 Z"
)
CAR_GLASS = "M72 42 L94 23 Q96 21 100 21 L124 21 L124 42 Z M130 21 L154 21 Q162 21 167 26 L180 42 L130 42 Z"
CAR_SPANS = {"front": (0, 74), "cabin": (74, 106), "rear": (180, 60)}


def text(
    x: float, y: float, words: str, size: int = 17, fill: str = INK, anchor: str = "middle", **more: str
) -> str:
    extra = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{extra}>{words}</text>'
    )


def box(x: float, y: float, w: float, h: float, fill: str = "#ffffff", edge: str = EDGE, r: float = 8) -> str:
    place = f'x="{x}" y="{y}" width="{w}" height="{h}" rx="{r}"'
    return f'<rect {place} fill="{fill}" stroke="{edge}" stroke-width="1.5"/>'


def chip(x: float, y: float, w: float, h: float, words: str, fill: str, size: int = 17) -> str:
    """A filled box with white words."""
    return box(x, y, w, h, fill, fill) + text(x + w / 2, y + h / 2 + size * 0.35, words, size, "#ffffff")


def arrow(points: Iterable[tuple[float, float]], colour: str = MUTED, dashed: bool = False) -> str:
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="6 5"' if dashed else ""
    head = f'marker-end="url(#head-{colour[1:]})"'
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash} {head}/>'


def math(word: str, sub: str = "", sup: str = "") -> str:
    """An italic letter with an index and an exponent, inside a text element."""
    parts = f'<tspan font-style="italic">{word}</tspan>'
    if sub:
        parts += (
            f'<tspan dy="5" font-size="0.72em" font-style="italic">{sub}</tspan><tspan dy="-5">\u200b</tspan>'
        )
    if sup:
        parts += (
            f'<tspan dy="-6" font-size="0.72em" font-style="italic">{sup}</tspan><tspan dy="6">\u200b</tspan>'
        )
    return parts


def wheel(x: float) -> str:
    rim = f'<circle cx="{x}" cy="74" r="8" fill="#d8dce4"/>'
    return f'<circle cx="{x}" cy="74" r="17" fill="{INK}"/>{rim}'


def car(x: float, y: float, scale: float, parts: Iterable[str], key: str) -> str:
    """A car seen from the side; ``parts`` are in their source's colour, the others are missing."""
    drawn = []
    for part in parts:
        start, width = CAR_SPANS[part]
        clip = f"clip-{key}-{part}"
        drawn.append(
            f'<clipPath id="{clip}"><rect x="{start}" y="0" width="{width}" height="100"/></clipPath>'
            f'<g clip-path="url(#{clip})"><path d="{CAR_BODY}" fill="{SOURCES[part]}"/>'
            f'<path d="{CAR_GLASS}" fill="#dfe9f2"/>'
            f"{wheel(52)}{wheel(190)}</g>"
        )
    return f'<g transform="translate({x} {y}) scale({scale})">{"".join(drawn)}</g>'


def write(name: str, width: int, height: int, title: str, *parts: str) -> None:
    body = "\n".join(parts)
    colours = [
        c for c in (MUTED, *SOURCES.values(), TARGET, ATTENTION, ADVERSARY, INK) if f"#head-{c[1:]}" in body
    ]
    heads = "".join(
        f'<marker id="head-{c[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 1 L10 5 L0 9 z" fill="{c}"/></marker>'
        for c in colours
    )
    (HERE / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f"font-family=\"system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif\">\n"
        f"<title>{title}</title>\n<defs>{heads}</defs>\n"
        f"{box(1, 1, width - 2, height - 2, PANEL, EDGE, 14)}\n"
        f"{body}\n</svg>\n",
        encoding="utf-8",
    )


def local_similarity() -> None:
    parts = [
        text(160, 36, "sources: labelled, other cars", 17, MUTED),
        text(490, 36, "target: few labels", 17, MUTED),
    ]
    for row, (part, colour) in enumerate(SOURCES.items()):
        top = 52 + row * 102
        start, width = CAR_SPANS[part]
        parts += [
            box(24, top, 200, 90, edge=colour),
            car(40 + (106 - width) * 0.45 - start * 0.9, top + 2, 0.9, [part], f"s{row}"),
            text(212, top + 28, f"source {row + 1}", 16, colour, "end"),
            text(212, top + 50, f"{part}s", 16, INK, "end"),
            arrow([(232, top + 45), (322, 158 + row * 43)], colour),
        ]
    parts += [
        box(332, 92, 286, 220, edge=TARGET),
        car(346, 130, 1.08, SOURCES, "t"),
        text(475, 262, "the whole car", 18, TARGET, font_weight="600"),
        text(475, 288, "each part known from one source", 16, MUTED),
    ]
    write(
        "local-similarity", 640, 372, "Three sources show one part each; the target is the whole car", *parts
    )


def architecture() -> None:
    parts = [
        text(20, 30, "one sub-network per pair (source, target)", 17, MUTED, "start"),
    ]
    for row, (colour, index) in enumerate(zip(SOURCES.values(), "12J", strict=True)):
        top = 48 + row * 132
        middle = top + 58
        parts += [
            box(14, top, 496, 118, edge=colour),
            chip(24, top + 12, 92, 38, f"source {index}", colour, 16),
            chip(24, top + 66, 92, 38, "target", TARGET, 16),
            arrow([(116, top + 31), (144, middle - 8)], colour),
            arrow([(116, top + 85), (144, middle + 8)], TARGET),
            chip(146, middle - 22, 86, 44, math("F", index), colour, 19),
            arrow([(232, middle), (298, middle)], INK),
            text(264, middle - 8, math("f", index), 18),
            arrow([(264, middle + 2), (264, top + 88), (296, top + 88)], ADVERSARY, dashed=True),
            chip(298, top + 70, 98, 38, f"reversal, {math('D', index)}", ADVERSARY, 15),
            chip(298, middle - 40, 98, 44, f"attention {math('A', index)}", ATTENTION, 15),
            arrow([(396, middle - 18), (438, middle - 18)], INK),
            chip(438, top + 18, 62, 44, math("P", index), colour, 19),
            text(456, top + 90, "source", 15, MUTED),
            text(456, top + 107, "head", 15, MUTED),
        ]
        parts.append(
            arrow([(418, middle - 18), (418, top + 74), (518, top + 74), (518, 244), (528, 244)], TARGET)
        )
    parts += [
        chip(530, 222, 96, 44, "fusion", TARGET, 17),
        arrow([(578, 266), (578, 300)], TARGET),
        chip(530, 302, 96, 44, math("P", "T"), TARGET, 19),
        text(578, 370, "target", 15, MUTED),
        text(578, 388, "predictor", 15, MUTED),
        text(
            20, 472, "The same target batch, the same tensor, enters every sub-network.", 17, TARGET, "start"
        ),
        text(20, 498, "Dashed: through gradient reversal, before attention.", 17, ADVERSARY, "start"),
    ]
    write("architecture", 640, 516, "The architecture of MSTL, our reconstruction", *parts)


def synchronised() -> None:
    parts = []
    for column, (title, same) in enumerate((("synchronised", True), ("not synchronised", False))):
        left = 14 + column * 314
        parts += [
            box(left, 14, 298, 330, edge=TARGET if same else EDGE),
            text(left + 149, 44, title, 18, INK, font_weight="600"),
        ]
        for row, colour in enumerate(SOURCES.values()):
            top = 64 + row * 74
            shown = "17, 4, 9" if same else ("17, 4, 9", "2, 30, 11", "8, 21, 5")[row]
            parts += [
                chip(left + 16, top, 108, 52, f"sub-network {row + 1}", colour, 14),
                text(left + 156, top + 32, "sees", 16, MUTED),
                chip(left + 184, top, 100, 52, shown, TARGET if same else MUTED, 17),
            ]
        parts += [
            text(left + 149, 304, "one car at one place:" if same else "three cars at one place:", 16, MUTED),
            text(left + 149, 326, "features can be fused" if same else "fusion has no meaning", 16, MUTED),
        ]
    write(
        "synchronised", 640, 358, "Target images in one step, with and without synchronised batches", *parts
    )


def reversal() -> None:
    parts = [
        chip(30, 74, 120, 54, f"extractor {math('F')}", SOURCES["front"]),
        chip(256, 74, 120, 54, "reversal", ATTENTION),
        chip(482, 74, 128, 54, f"discriminator {math('D')}", ADVERSARY, 16),
        text(320, 36, "forward: nothing happens", 17, MUTED),
        arrow([(150, 88), (254, 88)], INK),
        arrow([(376, 88), (480, 88)], INK),
        text(202, 80, math("f"), 18),
        text(428, 80, math("f"), 18),
        arrow([(482, 114), (378, 114)], ADVERSARY),
        arrow([(256, 114), (152, 114)], ADVERSARY),
        text(430, 142, f"∂{math('L')}/∂{math('f')}", 18, ADVERSARY),
        text(204, 142, f"− λ ∂{math('L')}/∂{math('f')}", 18, ADVERSARY),
        text(320, 178, "backward: times − λ", 17, MUTED),
        text(90, 216, f"climbs {math('L')}:", 17, SOURCES["front"]),
        text(90, 240, "hides the domain", 17, SOURCES["front"]),
        text(546, 216, f"descends {math('L')}:", 17, ADVERSARY),
        text(546, 240, "finds the domain", 17, ADVERSARY),
        text(320, 228, "one loss, added with a plus", 17, INK),
    ]
    write("reversal", 640, 262, "Gradient reversal: identity forward, minus lambda backward", *parts)


def ramp() -> None:
    left, bottom, width, height = 60, 268, 424, 226
    parts = [
        f'<path d="M{left} {bottom - height} V{bottom} H{left + width}" fill="none" stroke="{INK}"/>',
        text(left + width / 2, bottom + 46, "progress: share of the training done", 17, MUTED),
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [
            text(left + tick * width, bottom + 22, f"{tick:g}", 15, MUTED),
            text(left - 10, bottom - tick * height + 5, f"{tick:g}", 15, MUTED, "end"),
            f'<path d="M{left} {bottom - tick * height} h{width}" stroke="{EDGE}" stroke-width="0.8"/>',
        ]
    colours = {20: SOURCES["front"], 10: TARGET, 5: SOURCES["cabin"], 1: SOURCES["rear"]}
    for gain, colour in colours.items():
        points = [(i / 80, 2 / (1 + exp(-gain * i / 80)) - 1) for i in range(81)]
        path = " L".join(f"{left + p * width:.1f} {bottom - r * height:.1f}" for p, r in points)
        weight = 3.5 if gain == 10 else 2
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{weight}"/>')
    for gain, (y, words) in {
        20: (34, "gain 20"),
        10: (56, "gain 10 (default)"),
        5: (78, "gain 5"),
        1: (166, "gain 1"),
    }.items():
        parts.append(text(left + width + 10, y, words, 15, colours[gain], "start"))
    write("ramp", 640, 332, "The ramp 2/(1+exp(-gain p))-1 for four gains", *parts)


def mmd() -> None:
    cell, n = 34, 3
    parts = []
    for column, (name, kept) in enumerate((("biased", True), ("unbiased", False))):
        left, top = 56 + column * 310, 56
        parts.append(text(left + 3 * cell, 34, name, 18, INK, font_weight="600"))
        for i in range(2 * n):
            for j in range(2 * n):
                within = (i < n) == (j < n)
                dropped = i == j and not kept
                fill = PANEL if dropped else (SOURCES["front"] if within else SOURCES["rear"])
                shade = "1" if i == j or dropped else "0.55"
                parts.append(
                    f'<rect x="{left + j * cell}" y="{top + i * cell}" width="{cell - 2}" '
                    f'height="{cell - 2}" rx="4" fill="{fill}" fill-opacity="{shade}" stroke="{EDGE}"/>'
                )
                if i == j:
                    parts.append(
                        text(
                            left + j * cell + 16,
                            top + i * cell + 22,
                            "1" if kept else "–",
                            16,
                            "#ffffff" if kept else MUTED,
                        )
                    )
        parts += [
            text(
                left + 3 * cell,
                290,
                "keeps the diagonal: ≥ 0" if kept else "drops it: can be negative",
                16,
                MUTED,
            ),
        ]
    parts += [
        text(320, 320, "blue: within a sample, added · orange: between samples, subtracted", 16, INK),
    ]
    write("mmd", 640, 338, "The kernel matrix and the diagonal the unbiased estimator leaves out", *parts)


def overlap() -> None:
    parts = [
        *(
            f'<ellipse cx="{x}" cy="118" rx="150" ry="82" fill="{colour}" fill-opacity="0.28" '
            f'stroke="{colour}"/>'
            for x, colour in ((230, TARGET), (390, SOURCES["rear"]))
        ),
        text(150, 124, "fn", 22),
        text(310, 124, "tp", 22, INK, font_weight="600"),
        text(474, 124, "fp", 22),
        text(596, 40, "tn", 22, MUTED),
        text(160, 28, "true mask", 17, TARGET),
        text(452, 28, "predicted mask", 17, SOURCES["rear"]),
        text(40, 244, "Dice = 2 tp / (2 tp + fp + fn)", 18, anchor="start"),
        text(372, 244, "IoU = tp / (tp + fp + fn)", 18, anchor="start"),
    ]
    write("overlap", 640, 266, "True positives, false positives and false negatives", *parts)


def pipeline() -> None:
    steps = [
        ("one notebook", "05_training", SOURCES["front"]),
        ("parameters", "data, method, labels, seed", SOURCES["front"]),
        ("papermill", "one run = one executed notebook", TARGET),
        ("runs/…/seed-0/", "config, metrics, scores, manifest", SOURCES["cabin"]),
        ("results/*.csv", "python -m mstl collect", SOURCES["cabin"]),
        ("the book", "figures read only the CSV files", SOURCES["rear"]),
    ]
    parts = []
    for i, (name, note, colour) in enumerate(steps):
        top = 20 + i * 62
        parts += [chip(40, top, 190, 44, name, colour), text(250, top + 28, note, 17, MUTED, "start")]
        if i + 1 < len(steps):
            parts.append(arrow([(135, top + 44), (135, top + 60)], INK))
    write("pipeline", 640, 396, "From a notebook and parameters to the book", *parts)


if __name__ == "__main__":
    for draw in (local_similarity, architecture, synchronised, reversal, ramp, mmd, overlap, pipeline):
        draw()
