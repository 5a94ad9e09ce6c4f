"""Draws the answer: ``python book/images/answer.py`` writes two ladders of scores, and the card of links.

The SVG files lie beside this script; the card, 1200×630 pixels, in ``book/_static``. All from the tables in
``results``; `tests/test_front.py` holds them to these.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from draw import EDGE, HERE, INK, MUTED, PANEL, TARGET, text, write

from mstl.report.grid import answer
from mstl.report.grid.answer import ALL, FEW, LITERAL, OURS, READINGS, rung_label

CARD = HERE.parent / "_static" / "card.png"
LOW, HIGH = 40, 90  # Dice, percent: one scale in both readings
OTHERS = "#56657a"


def colour(method: str) -> str:
    return TARGET if method in (OURS, LITERAL) else OTHERS


def picture(rows: pd.DataFrame, reading: answer.Reading) -> tuple[str, int, int, str, list[str]]:
    """Name, width, height, title and elements of one ladder, the best on top."""
    width, left, right, pitch, top = 420, 172, 366, 44, 52
    place = {v: left + (v - LOW) / (HIGH - LOW) * (right - left) for v in range(LOW, HIGH + 1, 10)}
    bottom = top + pitch * len(rows)
    parts = [text(16, 30, f"{reading.title}, {FEW} labels", 16, INK, "start", font_weight="600")]
    for value, x in place.items():
        parts.append(f'<path d="M{x:.1f} {top} V{bottom}" stroke="{EDGE}" stroke-width="1"/>')
        parts.append(text(round(x, 1), bottom + 18, f"{value}", 13, MUTED))
    parts.append(text(16, bottom + 18, "Dice, percent", 13, MUTED, "start"))
    for i, row in enumerate(rows.iloc[::-1].itertuples()):
        y = top + pitch * i + pitch // 2
        low, mean, high = (
            round(left + (v - LOW) / (HIGH - LOW) * (right - left), 1) for v in (row.low, row.dice, row.high)
        )
        name, what = rung_label(row.method, row.other)
        ours = row.method in (OURS, LITERAL)
        ink, weight = (TARGET, "600") if ours else (INK, "400")
        hollow = row.method == ALL
        parts += [
            text(16, y - 2, name, 15, ink, "start", font_weight=weight),
            text(16, y + 14, what, 12, MUTED, "start"),
            f'<path d="M{low} {y} H{high}" stroke="{colour(row.method)}" stroke-width="2.5"/>',
            f'<circle cx="{mean}" cy="{y}" r="6" fill="{PANEL if hollow else colour(row.method)}" '
            f'stroke="{colour(row.method)}" stroke-width="2.5"/>',
            text(width - 14, y + 5, f"{row.dice:.1f}", 15, ink, "end", font_weight=weight),
        ]
    return f"answer-{reading.name}", width, bottom + 30, alternative(rows, reading), parts


def alternative(rows: pd.DataFrame, reading: answer.Reading) -> str:
    """What the ladder says, for who cannot see it."""
    said = [f"{', '.join(rung_label(r.method, r.other))} {r.dice:.1f}" for r in rows.iloc[::-1].itertuples()]
    return f"{reading.title}, {FEW} labelled photographs, Dice in percent: {'; '.join(said)}"


def card(rows: pd.DataFrame, path: Path = CARD) -> None:
    """The picture that a link to the book shows elsewhere; what it says is in its own ``Description``."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 6.3), dpi=100, sharex=True)
    figure.suptitle("MSTL: transfer from sources that share only parts", x=0.04, y=0.95, ha="left", size=25)
    for ax, reading in zip(axes, READINGS, strict=True):
        ladder = rows[rows["reading"] == reading.name]
        for y, row in enumerate(ladder.itertuples()):
            shade = colour(row.method)
            ax.plot([row.low, row.high], [y, y], color=shade, lw=3)
            ax.plot(row.dice, y, "o", ms=11, color=shade, mfc="white" if row.method == ALL else shade)
            ax.text(HIGH + 1, y, f"{row.dice:.1f}", va="center", size=15, color=shade)
        names = [rung_label(row.method, row.other)[0] for row in ladder.itertuples()]
        ax.set_yticks(range(len(names)), names, size=15)
        ax.set_xlim(LOW, HIGH)
        ax.tick_params(axis="x", labelsize=13)
        ax.set_title(reading.title, size=18, loc="left")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x", color=EDGE)
        ax.set_axisbelow(True)
    note = f"Dice in percent on photographs of cars, {FEW} labelled target images, 95 % intervals over seeds "
    note += "and cars. * best of the rest"
    figure.text(0.04, 0.035, note, size=12.5, color=MUTED)
    figure.subplots_adjust(0.16, 0.13, 0.94, 0.79, wspace=0.75)
    figure.savefig(path, metadata={"Description": spoken(rows), "Software": None})
    plt.close(figure)
    shrink(path)


def shrink(path: Path) -> None:
    """The same picture in 64 colours, a fifth of the bytes."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    with Image.open(path) as image:
        info = PngInfo()
        info.add_text("Description", image.text["Description"])
        image.convert("RGB").quantize(64).save(path, pnginfo=info, optimize=True)


def spoken(rows: pd.DataFrame) -> str:
    """All that the card shows, in words."""
    return ". ".join(alternative(rows[rows["reading"] == r.name], r) for r in READINGS)


def main() -> None:
    rows = answer.ladder(answer.load())
    for reading in READINGS:
        name, width, height, title, parts = picture(rows[rows["reading"] == reading.name], reading)
        write(name, width, height, title, *parts)
    card(rows)


if __name__ == "__main__":
    main()
