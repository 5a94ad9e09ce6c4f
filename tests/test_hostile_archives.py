"""Archives and servers that mean no good: what they send lands whole, checked and in its place, or not."""

from __future__ import annotations

import os
import stat
import struct
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_https import answering, serving

from mstl.data.readers import archives, download
from mstl.data.readers.archives import unpack
from mstl.data.readers.listing import files_by_stem
from mstl.data.readers.pixels import read_image
from mstl.nn import TimmEncoder, Weights
from mstl.nn.weights import PACKAGES
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent


def member(name: str, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    """A member whose name is written as it is, whatever it holds."""
    made = zipfile.ZipInfo("x")
    made.filename = name
    made.compress_type = zipfile.ZIP_DEFLATED
    made.external_attr = (kind | 0o777) << 16
    return made


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(member(name) if isinstance(name, str) else name, content)
    return path


def everything(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))


@pytest.mark.trust(
    "hostile input", "an archive's member that leads out of the folder is refused, and nothing lands"
)
@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "a/../../evil", "a/..", "..", "train/../../evil", "./../evil", "/evil", "//evil"),
        *("C:\\evil", "C:evil", "..\\evil", "a\\..\\..\\evil", "\\\\host\\share\\evil"),
    ],
)
def test_a_member_that_climbs_out_is_refused(tmp_path, name):
    archive = zipped(tmp_path / "a.zip", ("train/good.txt", b"x"), (name, b"evil"))
    (tmp_path / "in" / "here").mkdir(parents=True)
    for strip, prefixes in ((False, ("",)), (True, ("train/",))):
        with pytest.raises(InputError, match="may lead out of the folder") as error:
            unpack(archive, tmp_path / "in" / "here", prefixes, strip)
        assert "\n" not in str(error.value)
    assert everything(tmp_path) == ["a.zip", "in", "in/here"]


@pytest.mark.trust("hostile input", "links and devices in an archive are refused")
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_member_that_is_no_plain_file_is_refused(tmp_path, kind):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="'train' is a link or a device"):
        unpack(zipped(tmp_path / "a.zip", (member("train", kind), b"/etc")), tmp_path / "in")
    assert not everything(tmp_path / "in")


@pytest.mark.parametrize("pair", [("a", "a"), ("a/B.txt", "a/b.txt"), ("é", "e\u0301")])
def test_a_name_used_twice_is_refused(tmp_path, pair):
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="is there twice"):
        unpack(zipped(tmp_path / "a.zip", *((name, b"x") for name in pair)), tmp_path / "in")
    assert not everything(tmp_path / "in")


@pytest.mark.trust("hostile input", "an archive that would fill the disk is refused before a byte is written")
def test_a_bomb_is_refused_by_what_it_declares(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    archive = zipped(tmp_path / "a.zip", ("a", bytes(3 * 10**6)), ("b", bytes(3 * 10**6)))
    assert archive.stat().st_size < 10_000
    monkeypatch.setattr(archives, "MOST_BYTES", 5 * 10**6)
    with pytest.raises(InputError, match="would unpack to 6,000,000 bytes; expected 5,000,000 at most"):
        unpack(archive, tmp_path / "in")
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    with pytest.raises(InputError, match="2 members; expected 1 at most"):
        unpack(archive, tmp_path / "in")
    assert not everything(tmp_path / "in")


def test_a_bomb_that_lies_about_its_size_gets_no_more_than_it_declares(tmp_path):
    (tmp_path / "in").mkdir()
    archive = zipped(tmp_path / "a.zip", ("a", bytes(10**6)))
    content = archive.read_bytes().replace(struct.pack("<I", 10**6), struct.pack("<I", 100))
    archive.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        unpack(archive, tmp_path / "in")
    assert sum(file.stat().st_size for file in (tmp_path / "in").iterdir()) <= 100


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "encrypted", "method"])
def test_a_damaged_archive_is_one_clear_error(tmp_path, damage):
    (tmp_path / "in").mkdir()
    archive = zipped(tmp_path / "a.zip", ("a.txt", os.urandom(1000)))
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02")
    if damage == "flipped":
        content[100] ^= 255
    elif damage == "encrypted":
        content[6] |= 1
        content[start + 8] |= 1
    elif damage == "method":
        content[8:10] = content[start + 10 : start + 12] = b"\x63\x00"
    archive.write_bytes(
        {"empty": b"", "cut": content[:-30], "text": b"no archive"}.get(damage, bytes(content))
    )
    with pytest.raises(InputError, match=r"a\.zip is damaged or no zip archive"):
        unpack(archive, tmp_path / "in")


def test_a_program_among_the_photographs_is_neither_run_nor_read(tmp_path):
    program = member("train/run.sh", stat.S_IFREG)
    archive = zipped(tmp_path / "train.zip", (program, b"#!/bin/sh\n"), ("train/x.jpg", b"#!/bin/sh\n"))
    download.unpack_member(archive, tmp_path)
    if os.name == "posix":
        assert not (tmp_path / "train" / "run.sh").stat().st_mode & 0o111
    assert list(files_by_stem(tmp_path / "train")) == ["x"]
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(tmp_path / "train" / "x.jpg", (8, 8))


@pytest.mark.trust(
    "hostile input", "other archives than zip are not opened, so their links cannot be followed"
)
def test_a_tar_archive_is_not_opened(tmp_path):
    with tarfile.open(tmp_path / "train.zip", "w") as archive:
        for kind, target in ((tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "/etc/passwd")):
            link = tarfile.TarInfo(f"link{kind!r}")
            link.type, link.linkname = kind, target
            archive.addfile(link)
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="neither a zip archive nor a folder"):
        download.unpack_member(tmp_path / "train.zip", tmp_path / "in")
    assert not everything(tmp_path / "in")


def test_a_link_in_a_folder_that_was_fetched_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.jpg").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"a\.jpg is a link"):
        download.unpack_member(tmp_path / "train", tmp_path / "in")


# Servers


def fetched(tmp_path: Path, address: str) -> None:
    """Fetch as the readers of data do, with a known checksum of content that is never sent."""
    download.studio(tmp_path / "cache", address, "0" * 64)


@pytest.mark.trust("hostile input", "data comes over https or not at all, redirected or not")
def test_plain_http_is_refused_without_a_connection(tmp_path):
    asked = []
    with serving(answering(lambda handler: asked.append(handler.path))) as address:
        for one in (address, address.upper(), "ftp://127.0.0.1/x", "file:///etc/passwd", "//127.0.0.1/x", ""):
            with pytest.raises(InputError, match="over https only"):
                download.fetch(one, tmp_path / "x")
    assert not asked and not (tmp_path / "x").exists()


def test_a_redirection_to_plain_http_is_refused_and_not_followed(tmp_path, trusted):
    asked = []

    def redirect(handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", plain + "/x.zip" if handler.path == "/b" else "/b")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    listening = answering(lambda handler: asked.append(handler.path))
    with (
        serving(listening) as plain,
        serving(answering(redirect), trusted) as address,
        pytest.raises(InputError, match=r"http://127.*over https only, without a detour"),
    ):
        fetched(tmp_path, address + "/a")
    assert not asked
    assert not list((tmp_path / "cache").iterdir())


def test_a_certificate_of_nobody_is_refused(tmp_path, certificate):
    with (
        serving(answering(lambda handler: handler.send_response(200)), certificate) as address,
        pytest.raises(InputError, match=r"cannot download .*SSLError"),
    ):
        fetched(tmp_path, address)


def endless(handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def short(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"PK" + bytes(100))


def silent(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    time.sleep(20)


def trickling(handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1024))
        time.sleep(0.05)


@pytest.mark.trust(
    "hostile input", "a server that sends too much, too little or nothing leaves nothing behind"
)
@pytest.mark.parametrize(
    "answer, message",
    [
        (endless, "more than 1,000,000 bytes;"),
        (trickling, "more than 1 seconds;"),
        (short, "cannot download .*Error|is damaged"),
        (silent, "cannot download .*(Timeout|ConnectionError)"),
        (lambda handler: handler.send_error(404), "cannot download .*HTTPError"),
        (lambda handler: handler.connection.close(), "cannot download .*"),
    ],
    ids=["endless", "trickling", "short", "silent", "absent", "hanging up"],
)
def test_a_bad_server_is_one_clear_error_and_leaves_nothing(tmp_path, trusted, monkeypatch, answer, message):
    monkeypatch.setattr(download, "MOST_BYTES", 10**6)
    monkeypatch.setattr(download, "MOST_SECONDS", 1 if answer is trickling else 20)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    with serving(answering(answer), trusted) as address, pytest.raises(InputError, match=message):
        fetched(tmp_path, address)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.trust("hostile input", "a download whose bytes are not the known ones leaves nothing behind")
@pytest.mark.parametrize("content", [b"", b"another", b"PK\x05\x06" + bytes(18)])
def test_wrong_bytes_leave_nothing(tmp_path, served, content):
    folder, address = served
    (folder / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match="not the studio data of this version"):
        fetched(tmp_path, f"{address}/a.zip")
    assert not list((tmp_path / "cache").iterdir())


def test_photographs_are_checked_every_byte(tmp_path, served):
    folder, address = served
    content = {"annotations.json": b"{}", "JPEGImages/a.jpg": b"photograph"}
    for name, value in content.items():
        (tmp_path / "good" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "good" / name).write_bytes(value)
    sums = download.sums_of(tmp_path / "good", [tmp_path / "good" / name for name in content])
    (tmp_path / "sums").write_text(sums)
    known = download.sha256_of(tmp_path / "sums")
    zipped(folder / "good.zip", *((f"c/trainingset/{name}", value) for name, value in content.items()))
    place = download.carparts(tmp_path / "cache", f"{address}/good.zip", known)
    assert everything(place) == [
        "trainingset",
        *(f"trainingset/{name}" for name in everything(tmp_path / "good")),
    ]
    content["JPEGImages/a.jpg"] = b"another photograph"
    zipped(folder / "bad.zip", *((f"c/trainingset/{name}", value) for name, value in content.items()))
    with pytest.raises(InputError, match="holds other files than expected"):
        download.carparts(tmp_path / "other", f"{address}/bad.zip", known)
    assert not list((tmp_path / "other").iterdir())


def test_the_checksums_in_the_code_are_those_of_the_repository():
    assert download.sha256_of(ROOT / "data" / "studio.zip") == download.STUDIO_SHA256
    assert download.CARPARTS.startswith("https://")


@pytest.mark.trust(
    "hostile input", "weights that packages carry must have their checksum and are never unpickled"
)
@pytest.mark.parametrize("name", PACKAGES)
def test_weights_of_a_package_must_have_their_checksum(name, tmp_path, monkeypatch):
    from test_hostile_checkpoints import bomb

    package, holder, known = PACKAGES[name]
    assert len(known) == 64
    bomb(tmp_path / "bomb.pth", tmp_path / "ran")
    held = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "bomb.pth"))
    monkeypatch.setitem(sys.modules, package, SimpleNamespace(**{holder: held}))
    with pytest.raises(InputError, match="is damaged: its checksum is not"):
        TimmEncoder(name, Weights("imagenet"))
    own = download.sha256_of(tmp_path / "bomb.pth")
    monkeypatch.setitem(PACKAGES, name, (package, holder, own))
    with pytest.raises(InputError, match="is not a checkpoint"):
        TimmEncoder(name, Weights("imagenet"))
    assert not (tmp_path / "ran").exists()
