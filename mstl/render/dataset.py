"""Writes a data set in Carvana's layout: in parallel, resumable, the same from the same seed."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mstl.render.car import PART_NAMES
from mstl.render.foreign import CHIMERA_PARTS
from mstl.render.frames import GENERATOR, Frame, Subject
from mstl.render.studio import VIEWS, renderer
from mstl.render.styles import BODY_STYLES
from mstl.system.errors import InputError

CHIMERA_VIEWS = VIEWS[::2]
PALETTE = (
    (0, 0, 0), (214, 69, 65), (65, 131, 215), (245, 171, 53), (108, 122, 137),
    (129, 207, 224), (247, 240, 120), (165, 85, 182), (63, 163, 77),
)  # fmt: skip
"""Colours of the part maps' palette, for human eyes; readers take the indices."""


@dataclass(frozen=True)
class Plan:
    """What a data set holds. ``size`` is (width, height)."""

    out: Path
    cars: int
    chimeras: int
    size: tuple[int, int]
    seed: int
    samples: int
    quality: int

    def describe(self) -> dict:
        """The part of the manifest that must agree when a run is resumed."""
        return {
            "generator": GENERATOR, "seed": self.seed, "width": self.size[0], "height": self.size[1],
            "samples_per_pixel": self.samples, "jpeg_quality": self.quality,
        }  # fmt: skip

    def jobs(self) -> list[tuple[int, str | None, tuple[int, ...]]]:
        """(number, chimera part or None, views) for every object."""
        jobs: list = [(i, None, VIEWS) for i in range(self.cars)]
        jobs += [(i, part, CHIMERA_VIEWS) for i in range(self.chimeras) for part in CHIMERA_PARTS]
        return jobs


def parse_size(text: str) -> tuple[int, int]:
    """``"480x320"`` -> (480, 320)."""
    try:
        width, height = (int(v) for v in text.lower().split("x"))
    except ValueError:
        raise InputError(f"--size {text!r}: expected WIDTHxHEIGHT in pixels, such as 240x160") from None
    if not (48 <= width <= 4096 and 32 <= height <= 4096):
        raise InputError(f"--size {text}: width must lie in 48..4096 and height in 32..4096")
    return width, height


def paths(folder: Path, car: str, view: int) -> tuple[Path, Path, Path]:
    """Photograph, mask and part map of one view."""
    stem = f"{car}_{view:02d}"
    return (
        folder / "train" / f"{stem}.jpg",
        folder / "train_masks" / f"{stem}_mask.gif",
        folder / "parts" / f"{stem}.png",
    )


def folder_of(plan: Plan, part: str | None) -> Path:
    return plan.out if part is None else plan.out / "chimeras" / part


def write_frame(frame: Frame, targets: tuple[Path, Path, Path], quality: int) -> None:
    """Write the three files, each under a temporary name first."""
    photograph, mask, parts = targets
    picture = Image.fromarray(frame.image)
    _save(picture, photograph, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    gif = Image.fromarray(frame.mask, mode="P")
    gif.putpalette([0, 0, 0, 255, 255, 255])
    _save(gif, mask, "GIF", optimize=False)
    png = Image.fromarray(frame.parts, mode="P")
    png.putpalette([v for colour in PALETTE for v in colour])
    _save(png, parts, "PNG", optimize=True, bits=4)


def _save(picture: Image.Image, target: Path, kind: str, **options: object) -> None:
    draft = target.with_name(f".{target.name}.part")
    try:
        picture.save(draft, kind, **options)
        os.replace(draft, target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(
            f"{target}: cannot be written ({error.strerror or error}); free space or choose another --out"
        ) from error


def _work(task: tuple[Plan, int, str | None, tuple[int, ...], int]) -> int:
    """Render the missing views of one object; returns how many views it stands for."""
    plan, number, part, views, threads = task
    import drjit

    renderer()
    drjit.set_thread_count(threads)
    subject = None
    folder = folder_of(plan, part)
    car = subject_id(plan.seed, number, part)
    for view in views:
        targets = paths(folder, car, view)
        if all(t.exists() for t in targets):
            continue
        subject = subject or Subject(plan.seed, number, part)
        write_frame(subject.photograph(view, plan.size, plan.samples), targets, plan.quality)
    return len(views)


def subject_id(seed: int, number: int, part: str | None = None) -> str:
    """The 12 hexadecimal digits of a car or chimera."""
    return hashlib.blake2b(f"{seed}/{part or 'car'}/{number}".encode(), digest_size=6).hexdigest()


def render(plan: Plan, jobs: int = 0, command: str = "python -m mstl.render") -> Path:
    """Render what is missing of a data set and write its metadata, manifest and checksums.

    Args:
        plan: what to render.
        jobs: processes; 0 takes one per processor.
        command: recorded in the manifest.

    Errors:
        InputError where Mitsuba is missing, the folder cannot be written or holds
        another data set.
    """
    renderer()
    _prepare(plan)
    jobs = jobs or os.cpu_count() or 1
    todo = plan.jobs()
    jobs = max(1, min(jobs, len(todo)))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    tasks = [(plan, number, part, views, threads) for number, part, views in todo]
    started = time.monotonic()
    for _ in _progress(_run(tasks, jobs), sum(len(t[3]) for t in tasks)):
        pass
    _metadata(plan)
    _manifest(plan, command, complete=True)
    checksums(plan.out)
    print(f"{plan.out}: {plan.cars} cars, {3 * plan.chimeras} chimeras, {time.monotonic() - started:.0f} s")
    return plan.out


def _run(tasks: list, jobs: int) -> Iterator[int]:
    if jobs == 1:
        yield from map(_work, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_work, tasks)


def _progress(done: Iterator[int], total: int) -> Iterator[int]:
    """A bar on a terminal, a plain line every now and then in a log."""
    if sys.stderr.isatty():
        with tqdm(total=total, unit="view") as bar:
            for n in done:
                bar.update(n)
                yield n
        return
    started, count, next_line = time.monotonic(), 0, 0.0
    for n in done:
        count += n
        elapsed = time.monotonic() - started
        if elapsed >= next_line or count == total:
            left = elapsed / count * (total - count) / 60
            print(f"rendered {count}/{total} views, about {left:.0f} min left", file=sys.stderr, flush=True)
            next_line = elapsed + 20
        yield n


def _prepare(plan: Plan) -> None:
    manifest = plan.out / "manifest.json"
    try:
        for part in (None, *(CHIMERA_PARTS if plan.chimeras else ())):
            for name in ("train", "train_masks", "parts"):
                (folder_of(plan, part) / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--out {plan.out}: not a writable folder ({error.strerror}); choose another"
        ) from error
    if not os.access(plan.out, os.W_OK):
        raise InputError(f"--out {plan.out}: not a writable folder; choose another")
    if manifest.exists():
        found = json.loads(manifest.read_text())
        for key, value in plan.describe().items():
            if found.get(key) != value:
                raise InputError(
                    f"--out {plan.out} holds a data set with {key} = {found.get(key)!r}, not {value!r}: "
                    "choose another folder or delete this one"
                )
    _manifest(plan, "", complete=False)


_MAKES = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Linden", "Maple", "Rowan")


def _metadata(plan: Plan) -> None:
    """Carvana's columns and the body style; makes are invented."""
    for part in (None, *(CHIMERA_PARTS if plan.chimeras else ())):
        rows = []
        for number in range(plan.cars if part is None else plan.chimeras):
            rng = np.random.default_rng((plan.seed, 9, number))
            style = BODY_STYLES[number % len(BODY_STYLES)]
            rows.append(
                {
                    "id": subject_id(plan.seed, number, part), "year": int(rng.integers(2008, 2026)),
                    "make": str(rng.choice(_MAKES)),
                    "model": f"{style.title()} {number // len(BODY_STYLES) + 1}",
                    "trim1": "Studio" if part is None else f"Chimera {part}", "trim2": f"Seed {plan.seed}",
                    "body_style": style,
                }
            )  # fmt: skip
        target = folder_of(plan, part) / "metadata.csv"
        draft = target.with_name(".metadata.csv.part")
        with draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["id"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(draft, target)


def _manifest(plan: Plan, command: str, *, complete: bool) -> None:
    content = {
        "name": "studio",
        **plan.describe(),
        "cars": plan.cars,
        "views": list(VIEWS),
        "chimeras_per_part": plan.chimeras,
        "chimera_views": list(CHIMERA_VIEWS),
        "chimera_parts": list(CHIMERA_PARTS),
        "part_names": [*PART_NAMES, "foreign"],
        "body_styles": list(BODY_STYLES),
        "mitsuba": version("mitsuba"),
        "variant": renderer().variant(),
        "command": command,
        "licence": "CC-BY-4.0",
        "complete": complete,
    }
    draft = plan.out / ".manifest.json.part"
    draft.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(draft, plan.out / "manifest.json")


def checksums(folder: Path) -> Path:
    """Write CHECKSUMS.sha256 over every file of a data set (``sha256sum -c`` reads it)."""
    target = folder / "CHECKSUMS.sha256"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != target and not p.name.startswith("."))
    lines = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}" for p in files
    ]
    draft = folder / ".CHECKSUMS.part"
    draft.write_text("\n".join(lines) + "\n")
    os.replace(draft, target)
    return target
