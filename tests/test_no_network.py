"""Nothing is fetched by importing, and tests have no network."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import offline
import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent

IMPORT = """
import sys
sys.path[:0] = ["tests", "workflow", "tools"]
import offline
offline.forbid()
import importlib, pkgutil
import mstl
names = [m.name for m in pkgutil.walk_packages(mstl.__path__, "mstl.") if not m.name.endswith("__main__")]
names += [m.name for m in pkgutil.iter_modules(["workflow", "tools"])]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "mitsuba":  # an extra
            raise
print(len(names), *offline.ATTEMPTS)
"""


@pytest.mark.trust(
    "hostile input", "importing any module of the package or the workflow asks nobody anything"
)
def test_no_import_reaches_for_the_network(record_property):
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, *attempts = done.stdout.split()
    record_property("modules", int(count))
    assert int(count) > 60 and not attempts


@pytest.mark.trust("hostile input", "a test that reaches for the network fails")
@pytest.mark.parametrize(
    "ask",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.create_connection(("2001:db8::1", 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
        lambda: requests.get("https://example.org", timeout=1),
    ],
    ids=["IPv4", "IPv6", "name", "old name", "UDP", "requests"],
)
def test_reaching_for_another_machine_is_refused_and_remembered(ask):
    with pytest.raises(OSError, match="tests have no network"):
        ask()
    assert offline.ATTEMPTS
    offline.ATTEMPTS.clear()


def test_this_machine_may_be_asked():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert not offline.ATTEMPTS
