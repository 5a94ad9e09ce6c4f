"""Why tasks ended without a word of their own: killed for time or memory, cancelled, never submitted."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from progress import Progress

BLOCK = re.compile(
    r"^Error in rule task:\n    message: (?P<message>.*?)\n    jobid: .*?^    input: (?P<inputs>[^\n]*)\n"
    r".*?^    log: (?P<logs>[^\n]*)",
    re.DOTALL | re.MULTILINE,
)
HERE = re.compile(
    r"workflow/task\.py (?P<inputs>.*?) >> (?P<log>\S+) 2>&1' returned .* status (?P<status>\d+)"
)
STATE = re.compile(r"SLURM status is: '([^']+)'")
STEP = re.compile(r"^slurmstepd\S* error: \*{0,3} *(.*?) *\*{0,3}$", re.MULTILINE)
REFUSED = re.compile(r"The error message was '(.*?)'\.", re.DOTALL)


@dataclass(frozen=True)
class End:
    """The last attempt at some tasks."""

    stems: tuple[str, ...]
    reason: str
    log: str


def read(text: str) -> list[End]:
    """The last end of each job in the log of Snakemake."""
    found: dict[tuple[str, ...], End] = {}
    for block in BLOCK.finditer(text):
        stems = tuple(name.strip().removesuffix(".json") for name in block["inputs"].split(","))
        logs = block["logs"].partition(" (check")[0].split(", ")
        found[stems] = End(stems, _reason(block["message"], logs[-1]), logs[-1])
    for died in HERE.finditer(text):
        stems = tuple(name.removesuffix(".json") for name in shlex.split(died["inputs"]))
        status = int(died["status"])
        if status > 128:  # by a signal; 1 is of runs that failed by themselves
            reason = f"its process was killed by signal {status - 128} ({signal.strsignal(status - 128)})"
            found[stems] = End(stems, reason, died["log"])
    return list(found.values())


def _reason(message: str, log: str) -> str:
    if state := STATE.search(message):
        return f"SLURM says {state[1]}{_said_by_the_node(log)}"
    if refused := REFUSED.search(message):
        return f"SLURM refused it: {' '.join(refused[1].split())}"
    return message.splitlines()[0]


def _said_by_the_node(log: str) -> str:
    """Its reason for killing a job: a limit of memory or of time, or that somebody cancelled it."""
    with suppress(OSError):
        said = STEP.findall(Path(log).read_text(encoding="utf-8", errors="replace"))
        reasons = [line.strip("* ") for line in said if "memory limit" in line] or said[:1]
        return "".join(f": {reason}" for reason in reasons[:1])
    return ""


def lines(ends: list[End], progress: Progress) -> Iterator[str]:
    """Of each task that left jobs open: which was at work, how many are left, why, and the log."""
    tasks = {task.stem: task for task in progress.pending}
    for end in ends:
        for stem in end.stems:
            task = tasks.get(stem)
            left = [job.name for job in task.jobs if job.name in progress.open] if task else []
            if left:
                at_work = next((name for name in left if name in progress.begun), left[0])
                others = f" and {len(left) - 1} more" if len(left) > 1 else ""
                yield f"  {at_work}{others}: NOT FINISHED: {end.reason}\n    log: {end.log}"
