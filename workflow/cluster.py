"""What a SLURM cluster grants, asked before anything is submitted.

SLURM itself takes a job that fits nowhere and keeps it waiting for ever; here that is an error.
"""

from __future__ import annotations

import getpass
import math
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mstl.system.errors import InputError
from needs import Need

UNLIMITED = 10**9  # jobs at the same time


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in a partition: the longest job in minutes, MiB, cores and GPUs of each."""

    partition: str
    minutes: float
    memory: int
    cores: int
    gpus: int
    default: bool = False


def read(path: Path) -> dict[str, Any]:
    """A profile of Snakemake; resources, which may be lists of ``name=value``, as mappings."""
    profile = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    profile["default-resources"] = _mapping(profile.get("default-resources"))
    of_tasks = profile.get("set-resources") or {}
    if isinstance(of_tasks, list):
        of_tasks = {"task": [text.removeprefix("task:") for text in of_tasks if text.startswith("task:")]}
    profile["set-resources"] = _mapping(of_tasks.get("task"))
    if "jobs" in profile and not isinstance(profile["jobs"], int):
        profile["jobs"] = UNLIMITED
    return profile


def _mapping(given: dict[str, Any] | list[str] | None) -> dict[str, Any]:
    if isinstance(given, list):
        pairs = (text.partition("=") for text in given)
        return {name.strip(): int(value) if value.isdecimal() else value for name, _, value in pairs}
    return dict(given or {})


def nodes() -> list[Nodes]:
    """Of all partitions that are up.

    Raises:
        InputError: no SLURM here, or no controller that answers.
    """
    found = []
    for line in _ask("sinfo", "--all", "--noheader", "--exact", "--format=%P|%a|%l|%m|%c|%G").splitlines():
        if line.count("|") != 5:  # the name of a cluster, where there are several
            continue
        name, up, limit, memory, cores, resources = line.split("|")
        if up == "up":
            gpus = sum(int(n) for n in re.findall(r"gpu(?::[^,:(]+)?:(\d+)", resources))
            sizes = int(memory.rstrip("+")), int(cores.rstrip("+"))
            found.append(Nodes(name.rstrip("*"), _minutes(limit), *sizes, gpus, name.endswith("*")))
    return found


def check(profile: dict[str, Any], needs: dict[str, Need], where: str) -> dict[str, Need]:
    """What is asked for, cut to what the partition grants where that is enough for what is expected.

    Args:
        profile: as `read` gives it; what it sets for tasks wins over needs.
        needs: by task.
        where: the profile's file, for messages.

    Raises:
        InputError: no controller, an unknown partition or account, or a need that no node meets.
    """
    known, fixed = nodes(), profile["set-resources"]
    asked = profile["default-resources"] | fixed
    names, accounts = _names(asked.get("slurm_partition")), _names(asked.get("slurm_account"))
    there, own = {n.partition for n in known}, _accounts()
    for name in names:
        if name not in there:
            raise InputError(
                f"{where}: no partition {name!r} is up here; choose from {', '.join(sorted(there))}"
            )
    for name in accounts:
        if own and name.lower() not in own:
            raise InputError(f"{where}: you have no account {name!r}; choose from {', '.join(sorted(own))}")
    chosen = [n for n in known if n.partition in names or (not names and n.default)]
    if not chosen:
        raise InputError(
            f"{where}: no partition is the default here; "
            f"set slurm_partition to one of {', '.join(sorted(there))}"
        )
    return {stem: _granted(need, chosen, stem, fixed, where) for stem, need in needs.items()}


def _names(given: object) -> list[str]:
    """Of ``"gpu,cpu"`` or ``"'gpu'"``."""
    return [name.strip(" '\"") for name in str(given or "").split(",") if name.strip(" '\"")]


def _granted(need: Need, chosen: list[Nodes], stem: str, fixed: dict[str, Any], where: str) -> Need:
    minutes, memory = fixed.get("runtime", math.ceil(need.seconds / 60)), fixed.get("mem_mb", need.mem_mb)
    wanted = {
        # A run of which nothing is known, and a limit of which ("2h") nothing is read, are SLURM's to judge.
        "minutes": minutes if isinstance(minutes, int) and (need.known or "runtime" in fixed) else 0,
        "memory": memory if isinstance(memory, int) else 0,
        "cores": need.threads,
        "gpus": need.gpus,
    }
    fits = [n for n in chosen if all(value <= getattr(n, name) for name, value in wanted.items())]
    if not fits:
        most = {name: max(getattr(n, name) for n in chosen) for name in wanted}
        words = {"minutes": "minutes", "memory": "MiB of memory", "cores": "cores", "gpus": "GPUs"}
        over = [name for name, value in wanted.items() if value > most[name]] or list(wanted)
        asks, gets = (" and ".join(f"{of[n]:g} {words[n]}" for n in over) for of in (wanted, most))
        names = " or ".join(sorted({n.partition for n in chosen}))
        raise InputError(
            f"{stem} needs {asks}, and a job of partition {names} gets {gets} at most; "
            f"name another partition in {where}"
        )
    longest = int(min(max(n.minutes for n in fits), 525600))
    return replace(
        need,
        minutes=min(need.minutes, longest),
        most_minutes=longest,
        most_mem_mb=max(n.memory for n in fits),
    )


def cancel_those_of(log: Path) -> None:
    """Take out of the queue what a command has left there, whose Snakemake wrote ``log``."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    names = re.findall(r"^SLURM run ID: (\S+)$", text, re.MULTILINE)
    for name in names if shutil.which("squeue") else []:
        if left := _ask("squeue", "--noheader", "--format=%i", f"--name={name}").split():
            print(f"Jobs of an earlier command are taken out of the queue: {', '.join(left)}", flush=True)
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
    """Accounts of this user, in small letters; empty where nobody keeps them."""
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
    return set(done.stdout.lower().split()) if done.returncode == 0 else set()


def _minutes(limit: str) -> float:
    """Of ``days-hours:minutes:seconds``; of ``infinite`` and whatever else there is none."""
    days, _, clock = limit.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        hours, minutes, seconds = [0] * (3 - len(parts)) + parts
        return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60
    except ValueError:
        return math.inf
