"""A SLURM queue on one machine: a controller and one node, in a folder of their own.

    sudo python tools/slurm.py start /srv/slurm --cores 2 --memory 4000
    sinfo
    sudo python tools/slurm.py stop /srv/slurm

Debian and Ubuntu have the programs: ``apt install slurm-wlm munge``. Configuration, state and logs lie in
the folder; /etc/slurm/slurm.conf points there while it runs, since a job is not told where else to look. For
tests and for a look at what a cluster will do: limits of time are kept, and those of memory by looking every
second.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo")
USUAL = Path("/etc/slurm/slurm.conf")
# Short times, so that a test of what is lost and found again takes seconds.
CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
MinJobAge=600
KillWait=3
InactiveLimit=0
SlurmdTimeout=30
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=1-0 DefaultTime=10 State=UP
PartitionName=short Nodes={host} MaxTime=1 State=UP
"""


class QueueError(Exception):
    """What is missing, or what did not start, in one line."""


class Queue:
    """A controller, a node and what they trust each other by.

    Args:
        folder: of configuration, state and logs; whoever submits must be able to read it.
        cores: of the node; more than the machine has are allowed.
        memory: of the node, MiB.
        gpus: that the node says it has; none is looked for.
    """

    def __init__(self, folder: Path, cores: int = 2, memory: int = 4000, gpus: int = 0) -> None:
        self.folder, self.cores, self.memory, self.gpus = folder.resolve(), cores, memory, gpus

    def start(self, seconds: float = 30) -> None:
        """Start all three, and wait until the node takes jobs.

        Raises:
            QueueError: no root, a program missing, or not ready after ``seconds``.
        """
        if reason := missing():
            raise QueueError(reason)
        for name in ("munge", "controller", "node"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge/key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        has = {"cores": self.cores, "memory": self.memory, "gpus": self.gpus}
        text = CONFIG.format(host=host, folder=self.folder, ports=_free_ports(2), **has)
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n" * self.gpus)
        (self.folder / "slurm.conf").write_text(text)
        for name in (USUAL.name, "gres.conf"):
            USUAL.with_name(name).unlink(missing_ok=True)
            USUAL.with_name(name).symlink_to(self.folder / name)
        names = {
            "key-file": "key",
            "socket": "socket",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        _run("munged", "--force", *(f"--{option}={key.with_name(name)}" for option, name in names.items()))
        try:
            self.start_controller()
            self.start_node()
            self._wait(seconds)
        except QueueError:
            self.stop()
            raise

    def start_controller(self) -> None:
        """Start the controller, which goes on from its state."""
        _run("slurmctld")

    def start_node(self) -> None:
        """Start the node's daemon."""
        _run("slurmd")

    def kill_node(self) -> None:
        """Let the node die with all its jobs; the controller notices after half a minute."""
        import psutil  # which only tests need

        steps = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "slurmstepd"]
        node = psutil.Process(int((self.folder / "slurmd.pid").read_text()))
        with suppress(psutil.NoSuchProcess):
            for process in (node, *steps, *(child for p in steps for child in p.children(recursive=True))):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def stop_controller(self) -> None:
        """Stop the controller; jobs run on."""
        _end(self.folder / "slurmctld.pid")

    def stop(self) -> None:
        """Cancel what is queued and stop everything."""
        if (self.folder / "slurmctld.pid").exists():
            _run("scancel", "--user", "root", check=False)
        for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
            _end(self.folder / name)
        if USUAL.is_symlink() and USUAL.resolve() == self.folder / "slurm.conf":
            for name in (USUAL.name, "gres.conf"):
                USUAL.with_name(name).unlink(missing_ok=True)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while "idle" not in (state := _run("sinfo", "--noheader", "--format=%T", check=False)):
            if time.monotonic() > until:
                raise QueueError(
                    f"the node is {state.split() or 'unknown'} after {seconds} s; see {self.folder}/*.log"
                )
            time.sleep(0.2)


def missing() -> str:
    """Why no queue can be started here; empty if one can."""
    if os.geteuid() != 0:
        return "SLURM's daemons need root: run this as root, in a container for instance"
    for path in (USUAL, USUAL.with_name("gres.conf")):
        if path.exists() and not (path.is_symlink() and (path.resolve().parent / "munge/key").exists()):
            return f"this machine has a SLURM of its own ({path}): use that"
    absent = [name for name in PROGRAMS if not _path(name)]
    return f"{', '.join(absent)} not found: apt install slurm-wlm munge" if absent else ""


def _path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _run(*words: str, check: bool = True) -> str:
    path = _path(words[0]) or words[0]
    done = subprocess.run([path, *words[1:]], capture_output=True, text=True)
    if check and done.returncode:
        raise QueueError(f"{words[0]}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _end(pid_file: Path, seconds: float = 15) -> None:
    """Stop the process that a file names, and wait until it is gone."""
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            os.kill(pid, 0)  # raises once it is gone
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", type=int, default=4000, help="MiB")
    given = parser.parse_args()
    queue = Queue(given.folder, given.cores, given.memory)
    try:
        getattr(queue, given.what)()
    except QueueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
