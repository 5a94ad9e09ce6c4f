"""No test reaches beyond this machine: an audit hook refuses it and remembers who tried."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterator

import pytest

ATTEMPTS: list[str] = []


def forbid() -> None:
    """Refuse every connection and every look-up of a name but those of this machine, from now on."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and address else None  # else a socket of this machine
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not _here(host):
        ATTEMPTS.append(f"{event} {host!r}")
        raise OSError(errno.ENETUNREACH, f"tests have no network; {host!r} was asked for")


def _here(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", "0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def pytest_configure() -> None:
    forbid()


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fails a test that tried to reach another machine, even if it coped with the refusal."""
    ATTEMPTS.clear()
    yield
    assert not ATTEMPTS, f"a test has no network: {', '.join(ATTEMPTS)}"
