"""``python -m mstl.render``: render a studio data set, or lay out its contact sheet."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from mstl.system.errors import InputError


@dataclass(frozen=True)
class RenderConfig:
    """Render cars in a photo studio, in Carvana's layout.

    Finished files are kept, so a stopped run continues where it was.
    """

    out: Path | None = None
    """Folder of the data set; by default data/studio-CARS-SIZE. A contact sheet and packing need it."""
    cars: int = 96
    """Number of cars; body styles take turns."""
    chimeras: int = 0
    """Number of chimeras per part (front, cabin, rear)."""
    size: str = "240x160"
    """WIDTHxHEIGHT of a photograph in pixels."""
    seed: int = 0
    """Everything follows from the seed."""
    samples: int = 8
    """Light paths per pixel, 1..4096."""
    quality: int = 84
    """JPEG quality, 1..95."""
    jobs: int = 0
    """Processes; 0 takes one per processor."""
    contact_sheet: Path | None = None
    """Write a contact sheet of the data set in --out to this file; renders nothing."""
    pack: Path | None = None
    """Write the data set in --out to this zip file, stored and always alike; renders nothing."""


def run(config: RenderConfig) -> None:
    paths = ((name, getattr(config, name)) for name in ("out", "contact_sheet", "pack"))
    config = replace(config, **{name: path.expanduser() for name, path in paths if path is not None})
    if config.contact_sheet is not None:
        from mstl.render.sheet import contact_sheet

        contact_sheet(_rendered(config)).save(config.contact_sheet)
        print(config.contact_sheet)
        return
    if config.pack is not None:
        from mstl.render.pack import pack

        pack(_rendered(config), config.pack)
        print(config.pack)
        return
    from mstl.render.dataset import Plan, parse_size, render

    for name, low, high in (("cars", 1, 10**6), ("chimeras", 0, 10**6), ("jobs", 0, 4096), ("quality", 1, 95),
                            ("samples", 1, 4096)):  # fmt: skip
        value = getattr(config, name)
        if not low <= value <= high:
            raise InputError(f"--{name} {value}: expected {low}..{high}")
    size = parse_size(config.size)
    out = config.out or Path(f"data/studio-{config.cars}-{config.size}")
    plan = Plan(out, config.cars, config.chimeras, size, config.seed, config.samples, config.quality)
    command = (
        f"python -m mstl.render --cars {config.cars} --chimeras {config.chimeras} --size {config.size} "
        f"--seed {config.seed} --samples {config.samples} --quality {config.quality}"
    )
    render(plan, config.jobs, command)


def _rendered(config: RenderConfig) -> Path:
    if config.out is None or not (config.out / "metadata.csv").is_file():
        raise InputError(f"--out {config.out}: expected the folder of a rendered data set, with metadata.csv")
    return config.out


def main() -> None:
    try:
        run(tyro.cli(RenderConfig, prog="python -m mstl.render", description=RenderConfig.__doc__))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
