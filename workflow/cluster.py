"""What a SLURM cluster grants, asked before anything is submitted.

SLURM itself takes a job that fits nowhere and keeps it waiting for ever; here that is an error.
"""

from __future__ import annotations

import getpass
import math
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mstl.system.errors import InputError
from needs import Need


@dataclass(frozen=True)
class Partition:
    """Nodes of one kind: the longest job in minutes, and what the largest node has."""

    name: str
    minutes: float
    memory: int  # MiB
    cores: int
    gpus: int
    default: bool = False


def partitions() -> dict[str, Partition]:
    """Those that are up, by name.

    Raises:
        InputError: no SLURM here, or no controller that answers.
    """
    found: dict[str, Partition] = {}
    for line in _ask("sinfo", "--noheader", "--exact", "--format=%P|%a|%l|%m|%c|%G").splitlines():
        name, up, limit, memory, cores, resources = line.split("|")
        if up != "up":
            continue
        gpus = sum(int(n) for n in re.findall(r"gpu(?::[^,:(]+)?:(\d+)", resources))
        whole = name.rstrip("*")
        before = found.get(whole, Partition(whole, 0, 0, 0, 0))
        found[whole] = Partition(
            whole,
            max(before.minutes, _minutes(limit)),
            max(before.memory, int(memory.rstrip("+"))),
            max(before.cores, int(cores.rstrip("+"))),
            max(before.gpus, gpus),
            before.default or name.endswith("*"),
        )
    return found


def check(profile: dict[str, Any], needs: dict[str, Need], where: str) -> dict[str, Need]:
    """What is asked for, cut to what the partition grants where that is enough for what is expected.

    Args:
        profile: of Snakemake; its resources of jobs may name partition and account, and win over needs.
        needs: by task.
        where: the profile's file, for messages.

    Raises:
        InputError: no controller, an unknown partition or account, or a need that no node meets.
    """
    known = partitions()
    fixed = dict((profile.get("set-resources") or {}).get("task") or {})
    asked = dict(profile.get("default-resources") or {}) | fixed
    name = str(asked.get("slurm_partition", "")).strip("'\"")
    if name and name not in known:
        raise InputError(f"{where}: no partition {name!r} is up here; choose from {', '.join(known)}")
    account, own = str(asked.get("slurm_account", "")).strip("'\""), _accounts()
    if account and own and account not in own:
        raise InputError(f"{where}: you have no account {account!r}; choose from {', '.join(sorted(own))}")
    chosen = known.get(name) or next((p for p in known.values() if p.default), None)
    if chosen is None:
        raise InputError(
            f"{where}: no partition is the default here; set slurm_partition to one of {', '.join(known)}"
        )
    return {stem: _granted(need, chosen, stem, fixed, where) for stem, need in needs.items()}


def _granted(need: Need, partition: Partition, stem: str, fixed: dict[str, Any], where: str) -> Need:
    limits = (
        ("runtime", "minutes", math.ceil(need.seconds / 60), partition.minutes),
        ("mem_mb", "MiB of memory", need.mem_mb, partition.memory),
        ("threads", "cores", need.threads, partition.cores),
        ("gpu", "GPUs", need.gpus, partition.gpus),
    )
    for name, what, expected, limit in limits:
        wanted = fixed[name] if isinstance(fixed.get(name), int) else expected
        if wanted > limit and (need.known or name != "runtime"):
            raise InputError(
                f"{stem} needs {wanted} {what}, and a job of partition {partition.name} gets {limit:g}; "
                f"name another partition in {where}, or set {name} there"
            )
    longest = int(min(partition.minutes, 525600))
    return replace(
        need, minutes=min(need.minutes, longest), most_minutes=longest, most_mem_mb=partition.memory
    )


def cancel_those_of(log: Path) -> None:
    """Take out of the queue what a command that has ended has left there, whose Snakemake wrote ``log``."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    names = re.findall(r"^SLURM run ID: (\S+)$", text, re.MULTILINE)
    for name in names:
        left = _ask("squeue", "--noheader", "--format=%i", f"--name={name}").split()
        if left:
            print(
                f"{len(left)} jobs of a command that was killed are taken out of the queue: {', '.join(left)}"
            )
            _ask("scancel", *left)


def status_command() -> list[str]:
    """Options by which Snakemake learns what became of a job: `squeue` where nothing keeps accounts."""
    try:
        subprocess.run(
            ["sacct", "--noheader", "--starttime=now"], check=True, capture_output=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return ["--slurm-status-command", "squeue"]
    return []


def _ask(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise InputError(
            f"{words[0]} is not found: start this on a node of the cluster that submits jobs"
        ) from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{words[0]} has not answered for a minute: is the controller up?") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{words[0]}: {reason}: is the controller up?")
    return done.stdout


def _accounts() -> set[str]:
    """Accounts of this user; empty where nobody keeps them."""
    words = [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "assoc",
        f"user={getpass.getuser()}",
        "format=account",
    ]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return set(done.stdout.split()) if done.returncode == 0 else set()


def _minutes(limit: str) -> float:
    """Of ``days-hours:minutes:seconds``, or of ``infinite``."""
    if limit == "infinite":
        return math.inf
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60
