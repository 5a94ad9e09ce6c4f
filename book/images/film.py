"""Draws the method as one looping picture: ``python book/images/film.py`` writes ``film.svg``.

It moves by CSS alone. Who asks for less motion sees its last frame, and so does a reader without animations.
"""

from __future__ import annotations

from draw import (
    ADVERSARY,
    ATTENTION,
    CAR_SPANS,
    EDGE,
    INK,
    MUTED,
    SOURCES,
    TARGET,
    arrow,
    box,
    car,
    chip,
    math,
    text,
    write,
)

SECONDS, ROWS = 15, (92, 168, 244)
STAGES = (
    (74, "sources", "Each source shows, or labels, one part of a car."),
    (200, "sub-networks", "One sub-network for each pair of source and target."),
    (324, "tug of war", "D tells source from target; F hides it until D cannot."),
    (446, "attention", "Attention keeps the places that transfer."),
    (566, "fusion", "Fusion joins the parts: the whole mask."),
)
STYLE = (
    f"""<style>
.film * {{ animation: 0s linear infinite; animation-duration: {SECONDS}s }}
.film-say {{ opacity: 0 }} .film-say.film-last {{ opacity: 1 }}
.film-head {{ animation-name: film-head }} .film-say {{ animation-name: film-say }}
.film-go {{ animation-name: film-go; opacity: 0 }}
.film-knot {{ animation-name: film-knot }}
.film-up {{ animation-name: film-up }} .film-down {{ animation-name: film-down; opacity: .1 }}
.film-part0 {{ animation-name: film-part0 }} .film-part1 {{ animation-name: film-part1 }}
.film-part2 {{ animation-name: film-part2 }}
@keyframes film-head {{ 0%, 20% {{ opacity: 1 }} 22%, 98% {{ opacity: .75 }} 100% {{ opacity: 1 }} }}
@keyframes film-say {{ 0% {{ opacity: 0 }} 1%, 19% {{ opacity: 1 }} 20%, 100% {{ opacity: 0 }} }}
@keyframes film-go {{
  0%, 20% {{ opacity: 0; transform: translateX(0) }} 22% {{ opacity: 1 }}
  36% {{ opacity: 1; transform: translateX(38px) }} 38%, 100% {{ opacity: 0; transform: translateX(38px) }}
}}
@keyframes film-knot {{
  0%, 40% {{ transform: none }} 44% {{ transform: translateX(26px) }} 48% {{ transform: translateX(-24px) }}
  52% {{ transform: translateX(18px) }} 56% {{ transform: translateX(-10px) }} 59%, 100% {{ transform: none }}
}}
@keyframes film-up {{ 0%, 60% {{ opacity: .35 }} 70%, 100% {{ opacity: 1 }} }}
@keyframes film-down {{ 0%, 60% {{ opacity: .35 }} 70%, 100% {{ opacity: .1 }} }}
"""
    + "".join(
        f"@keyframes film-part{row} {{ 0%, 80% {{ opacity: 0; transform: translate(-70px, {dy}px) }} "
        f"90%, 100% {{ opacity: 1; transform: none }} }}\n"
        for row, dy in enumerate((-76, 0, 76))
    )
    + """@media (prefers-reduced-motion: reduce) { .film * { animation: none !important } }
</style>"""
)


def cells(x: float, y: float, row: int) -> list[str]:
    """Nine places of a feature map; those of the own part, a column of three, light up."""
    return [
        f'<rect class="film-{"up" if j == row else "down"}" x="{x + 18 * j}" y="{y + 18 * i}" width="16" '
        f'height="16" rx="3" fill="{ATTENTION}"/>'
        for i in range(3)
        for j in range(3)
    ]


def line(row: int, part: str, colour: str) -> list[str]:
    """One sub-network, from its source to its attention."""
    y, (start, width) = ROWS[row], CAR_SPANS[part]
    return [
        box(14, y - 30, 120, 60, edge=colour),
        car(74 - 0.6 * (start + width / 2), y - 29, 0.6, [part], f"film{row}"),
        arrow([(134, y), (168, y)], MUTED),
        f'<circle class="film-go" cx="134" cy="{y}" r="7" fill="{colour}"/>',
        chip(170, y - 22, 76, 44, math("F", str(row + 1)), colour, 19),
        f'<path d="M246 {y} H372" stroke="{MUTED}" stroke-width="3" stroke-dasharray="3 3" fill="none"/>',
        f'<circle class="film-knot" cx="309" cy="{y}" r="9" fill="{colour}"/>',
        chip(354, y - 22, 44, 44, math("D", str(row + 1)), ADVERSARY, 17),
        *cells(419, y - 27, row),
        arrow([(476, y), (500, y + (168 - y) * 0.35)], MUTED),
    ]


def film() -> None:
    parts = []
    for index, (x, name, said) in enumerate(STAGES):
        wait = f"animation-delay:{(index / 5 - 1) * SECONDS:g}s"
        parts.append(text(x, 34, name, 16, INK, font_weight="600", class_="film-head", style=wait))
        last = " film-last" if index == 4 else ""
        parts.append(text(320, 304, said, 17, INK, class_=f"film-say{last}", style=wait))
    for row, (part, colour) in enumerate(SOURCES.items()):
        parts += line(row, part, colour)
    parts.append(box(504, 104, 124, 128, edge=TARGET))
    for row, part in enumerate(SOURCES):
        parts.append(f'<g class="film-part{row}">{car(508, 132, 0.48, [part], f"whole{row}")}</g>')
    parts.append(text(566, 216, "target", 16, TARGET))
    parts.append(f'<path d="M14 282 H626" stroke="{EDGE}"/>')
    write(
        "film",
        640,
        322,
        "The method in five steps: three sources that know one part of a car each; a sub-network for each; a "
        "tug of war between extractor F and discriminator D; attention that keeps what transfers; fusion "
        "to a whole car",
        STYLE,
        f'<g class="film">{"".join(parts)}</g>'.replace(' class-="', ' class="'),
    )


if __name__ == "__main__":
    film()
