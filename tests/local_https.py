"""A server on this machine that speaks HTTPS with a certificate of its own, and one that tests can bend."""

from __future__ import annotations

import http.server
import shlex
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """Certificate and key for 127.0.0.1, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed; it makes the certificate of the test's own server")
    folder = tmp_path_factory.mktemp("certificate")
    made = subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
            "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem"
        ),
        cwd=folder,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("this openssl cannot make a certificate for an address")
    with open(folder / "certificate.pem", "a") as file:
        file.write((folder / "key.pem").read_text())
    return folder / "certificate.pem"


@contextmanager
def serving(handler: type, certificate: Path | None = None) -> Iterator[str]:
    """Answer by ``handler``; yields the address, https with a certificate and http without."""

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # clients that hang up are the point of some tests
            pass

    with Quiet(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def answering(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> type:
    """A handler whose GET is ``answer``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def trusted(certificate, monkeypatch) -> Path:
    """The certificate, trusted by this process as a certificate authority's would be."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return certificate


@pytest.fixture
def served(tmp_path, trusted) -> Iterator[tuple[Path, str]]:
    """A folder and the https address under which its files can be fetched."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    with serving(Files, trusted) as address:
        yield folder, address
