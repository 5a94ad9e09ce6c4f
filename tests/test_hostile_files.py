"""Images and folders that nobody meant to be read: bombs, pipes, films, links, names of every kind."""

from __future__ import annotations

import io
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFile
from test_folder import save_pair
from test_own_data import save_domain

import mstl.run.train as training
from mstl.data import load, local_task
from mstl.data.readers import carparts, carvana, folder
from mstl.data.readers.masks import read_indices, read_mask
from mstl.data.readers.pixels import MOST_PIXELS, read_image
from mstl.data.recipes.own import folders
from mstl.report.results import collect
from mstl.report.results import load as load_table
from mstl.run.config import TrainConfig
from mstl.system.errors import InputError

SIZE = (16, 16)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def gif_header(width: int, height: int) -> bytes:
    content = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return content + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def jpeg_header(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def tiff_header(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 8)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(12)


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


BOMBS = {
    "a.png": png_header(60_000, 60_000),
    "b.png": png_header(10_000, 9_000),  # between Pillow's warning and its error
    "a.gif": gif_header(60_000, 60_000),
    "a.jpg": jpeg_header(60_000, 60_000),
    "a.tif": tiff_header(60_000, 60_000),
    "a.webp": webp_header(16_000, 16_000),
}


@pytest.mark.trust("hostile input", "an image that declares more pixels than allowed is refused undecoded")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(BOMBS[name])
    Image.init()  # its plug-ins decode something of their own
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    readers = (
        lambda path: read_image(path, SIZE),
        lambda path: read_mask(path, (60_000, 60_000), path),
        lambda path: read_indices(path, (60_000, 60_000), path, 3),
    )
    for read in readers:
        with pytest.raises(InputError, match=rf"{name} (declares|cannot be read|is damaged)") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
        if name != "a.webp":  # a library of its own looks at the whole file first
            assert f"{MOST_PIXELS:,} at most" in str(error.value)


def film(path: Path, frames: int) -> Path:
    pictures = [Image.new("L", (12, 8), 255 * (k % 2)) for k in range(frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    return path


def test_of_a_film_the_first_picture_is_a_photograph_and_none_is_a_mask(tmp_path):
    path = film(tmp_path / "a.gif", 300)
    assert read_image(path, SIZE)[1] == (12, 8)
    for read in (lambda: read_mask(path, (12, 8), path), lambda: read_indices(path, (12, 8), path, 9)):
        with pytest.raises(InputError, match=r"a\.gif holds several pictures"):
            read()


def saved(path: Path, mode: str, **options) -> Path:
    x = np.mgrid[0:24, 0:36][1]
    grey = Image.fromarray((x * 7 % 256).astype(np.uint8))
    if mode == "P":  # a palette of greys
        grey.quantize(256, dither=Image.Dither.NONE).save(path)
    elif mode == "I;16":
        Image.fromarray((x * 7 % 256).astype(np.uint16) * 257).save(path)
    else:
        grey.convert("RGB").convert(mode).save(path, **options)
    return path


@pytest.mark.trust("hostile input", "a photograph means the same pixels in every mode that images have")
@pytest.mark.parametrize(
    "name, mode",
    [
        *(("a.png", mode) for mode in ("L", "I;16", "RGBA", "LA", "P")),
        *(("a.tif", mode) for mode in ("CMYK", "I;16")),
        ("a.bmp", "RGB"),
        ("a.webp", "RGB"),
    ],
)
def test_every_mode_gives_the_same_photograph(tmp_path, name, mode):
    options = {"lossless": True} if name.endswith("webp") else {}
    pixels, full = read_image(saved(tmp_path / name, mode, **options), (24, 36))
    expected, _ = read_image(saved(tmp_path / "plain.png", "RGB"), (24, 36))
    assert full == (36, 24)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_a_palette_with_transparency_is_read_without_a_word(tmp_path, recwarn):
    Image.new("P", (9, 9)).save(tmp_path / "a.png", transparency=bytes(range(200)))
    assert read_image(tmp_path / "a.png", SIZE)[0].shape == (16, 16, 3)
    assert not recwarn.list


@pytest.mark.parametrize(
    "kind", [2, 5, 7, 12, 99], ids=["text", "fraction", "bytes", "float", "no such kind"]
)
def test_an_orientation_that_is_no_number_harms_nobody(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    content = (tmp_path / "a.jpg").read_bytes()
    damaged = content.replace(b"\x01\x12\x00\x03", bytes([1, 18, 0, kind]))
    damaged = damaged.replace(b"\x12\x01\x03\x00", bytes([18, 1, kind, 0]))
    assert damaged != content
    (tmp_path / "a.jpg").write_bytes(damaged)
    try:
        assert read_image(tmp_path / "a.jpg", SIZE)[1] == (20, 10)
    except InputError as error:
        assert "is damaged" in str(error)


def test_an_image_of_one_pixel_is_an_image(tmp_path):
    save_one = Image.new("RGB", (1, 1), (9, 8, 7))
    save_one.save(tmp_path / "a.png")
    pixels, full = read_image(tmp_path / "a.png", SIZE)
    assert full == (1, 1) and (pixels == (9, 8, 7)).all()


def test_the_content_counts_not_the_ending(tmp_path):
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert (read_image(tmp_path / "a.jpg", SIZE)[0] == (1, 2, 3)).all()


@pytest.mark.trust("hostile input", "a file that is no photograph is one clear error, whatever it is called")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch ran) (w) file\n",
        b"P6 4 4 255\n" + bytes(48),
        png_header(400, 400),
        png_header(0, 0),
        BOMBS["a.jpg"][:30],
        b"BM" + b"\xff" * 60,
        b"GIF89a" + b"\xff" * 60,
        b"II*\0" + b"\xff" * 60,
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 60,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["empty", "nul", "postscript", "ppm", "short", "no size", "cut", "bmp", "gif", "tiff", "webp", "svg"],
)
def test_what_is_no_image_is_one_clear_error(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (lambda p: read_image(p, SIZE), lambda p: read_mask(p, (4, 4), p)):
        with pytest.raises(InputError, match=r"a\.jpg (cannot be read as an image|is damaged|is \d+×)"):
            read(tmp_path / "a.jpg")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP", "BMP", "TIFF"])
def test_half_a_file_is_one_clear_error_or_the_whole_image_never_a_crash(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path, kind)
    content = path.read_bytes()
    refused = 0
    for length in np.linspace(0, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:length])
        try:
            read_image(path, SIZE)
        except InputError:
            refused += 1
    assert refused >= 30  # a few bytes at the end may be no loss


@pytest.mark.long
@pytest.mark.trust(
    "hostile input", "flipped bytes in an image are one clear error or an image, never a crash"
)
def test_flipped_bytes_never_crash_a_reader(tmp_path, record_property):
    generator, path, cases = np.random.default_rng(0), tmp_path / "a.jpg", 0
    for kind in ("PNG", "GIF", "JPEG", "WEBP", "BMP", "TIFF"):
        Image.fromarray(generator.integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(path, kind)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(400):
            changed = content.copy()
            places = generator.integers(0, min(len(changed), 200), generator.integers(1, 6))
            changed[places] = generator.integers(0, 256, len(places))
            path.write_bytes(changed.tobytes())
            for read in (lambda: read_image(path, SIZE), lambda: read_mask(path, (24, 24), path)):
                cases += 1
                try:
                    read()
                except InputError as error:
                    assert "\n" not in str(error)
    record_property("cases", cases)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Image.fromarray(np.arange(96, dtype=np.uint16).reshape(8, 12) * 300), "holds 96 values"),
        (lambda: Image.fromarray(np.full((8, 12, 4), (255, 255, 255, 7), np.uint8)), "transparent in part"),
        (lambda: Image.fromarray(np.full((8, 12, 2), (255, 7), np.uint8), "LA"), "transparent in part"),
        (lambda: Image.new("L", (11, 8)), "is 11×8 but its image"),
    ],
)
def test_a_mask_that_could_mean_two_things_is_refused(tmp_path, make, message):
    make().save(tmp_path / "m.png")
    with pytest.raises(InputError, match=message):
        read_mask(tmp_path / "m.png", (12, 8), Path("a.jpg"))


def test_a_mask_of_sixteen_bits_is_a_mask(tmp_path):
    mask = np.zeros((8, 12), np.uint16)
    mask[2:5] = 256  # all in the high byte
    Image.fromarray(mask).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", (12, 8), Path("a.jpg")), mask > 0)


@pytest.mark.parametrize("mode", ["I;16", "RGB", "F"])
def test_a_part_map_that_would_lose_numbers_is_refused(tmp_path, mode):
    pixels = {"I;16": np.full((8, 12), 300, np.uint16), "RGB": np.zeros((8, 12, 3), np.uint8)}
    pixels["F"] = np.full((8, 12), -1.0, np.float32)
    Image.fromarray(pixels[mode]).save(tmp_path / "p.tif")
    with pytest.raises(InputError, match="one channel and 8 bits"):
        read_indices(tmp_path / "p.tif", (12, 8), Path("a.jpg"), 255)


# Folders


def large(file: Path) -> None:
    with open(file, "wb") as handle:
        handle.truncate(2**31)


def pair(path: Path) -> Path:
    save_pair(path, "a")
    save_pair(path, "b", car=1)
    return path


@pytest.mark.trust(
    "hostile input", "a folder, pipe, device or dead link in place of an image cannot hang a reader"
)
@pytest.mark.parametrize(
    "plant, message",
    [
        (lambda file: file.mkdir(), "no plain file"),
        (lambda file: os.mkfifo(file), "no plain file"),
        (lambda file: file.symlink_to("/dev/zero"), "no plain file"),
        (lambda file: file.symlink_to(file), "cannot be read"),
        (lambda file: file.symlink_to("nowhere.jpg"), "cannot be read"),
        (large, "2,147,483,648 bytes"),
    ],
    ids=["folder", "pipe", "device", "circle", "dead link", "two gigabytes of nothing"],
)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_plain_file_is_one_clear_error(tmp_path, plant, message):
    plant(pair(tmp_path / "own") / "images" / "x.jpg")
    with pytest.raises(InputError, match=rf"x\.jpg .*{message}|x\.jpg has {message}"):
        load("folder", SIZE, tmp_path / "own", tmp_path / "cache")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["annotations.json", "groups.csv", "train_masks.csv"])
def test_a_pipe_in_place_of_a_table_cannot_hang_a_reader(tmp_path, name):
    place = pair(tmp_path / "own")
    os.mkfifo(place / name)
    (place / "JPEGImages").mkdir()
    (place / "images").rename(place / "train") if name.startswith("train") else None
    read = {"annotations.json": carparts.listing, "groups.csv": folder.listing}.get(name, carvana.listing)
    if name == "annotations.json":
        with pytest.raises(InputError, match="no plain file"):
            read(place)
    elif name == "groups.csv":  # names decide, as if it were not there
        assert len(read(place).records) == 2
    else:
        with pytest.raises(InputError, match=r"neither train_masks/ nor train_masks.csv"):
            read(place)


def test_links_within_ones_own_folder_are_followed(tmp_path):
    elsewhere = pair(tmp_path / "elsewhere")
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    (own / "masks").symlink_to(elsewhere / "masks")
    for file in (elsewhere / "images").iterdir():
        (own / "images" / file.name).symlink_to(file)
    direct = load("folder", SIZE, elsewhere, tmp_path / "cache")
    assert load("folder", SIZE, own, tmp_path / "cache").fingerprint() == direct.fingerprint()


def test_a_link_in_a_circle_is_one_clear_error(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InputError, match="circle cannot be read"):
        load("folder", SIZE, tmp_path / "circle", tmp_path / "cache")
    save_domain(tmp_path / "own" / "target", ["a"])
    (tmp_path / "own" / "sources").mkdir()
    (tmp_path / "own" / "sources" / "s").symlink_to(tmp_path / "own" / "sources" / "s")
    with pytest.raises(InputError, match=r"sources/s is a link that leads nowhere"):
        folders(tmp_path / "own")


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-that-name/x", "x" * 5000])
def test_a_path_that_cannot_be_is_one_clear_error(path, tmp_path):
    with pytest.raises(InputError):
        load("folder", SIZE, path, tmp_path / "cache")


# Names

NAMES = [
    "with space", " ", "it's", 'say "hi"', "-rf", "--help", "=1+1", "+1", "@SUM(A1)", "-1", "'=quoted",
    "=cmd|' -C calc'!A0", "a;=1+1", "100%", "%s%n", "{0}", "{x!r}", "$HOME", "$(id)", "`id`",
    "a\nb", "a\rb", "a\tb",
    "\t=1", "\x1b[31mred", "\u202egnp.exe", "e\u0301", "naïve", "日本語", "🚗",
    "NA", "null", "None", "nan", "inf",
    "007", "1e5", "True", "a,b", "a..", "#", "x" * 251,
]  # fmt: skip


def folder_of(path: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        save_pair(path, name, ".png", car=number)
    return path


@pytest.mark.trust("hostile input", "any file name that is UTF-8 trains and stands in the tables as it was")
def test_every_name_trains_and_reads_back_from_the_tables(tmp_path, record_property):
    place = tmp_path / "a 'data' \"folder\""
    save_domain(place / "sources" / "=source 'one' {0}\n%s", [f"s_{k}" for k in range(4)], seed=7)
    save_domain(place / "sources" / "-2", [f"t_{k}" for k in range(4)], seed=8)
    folder_of(place / "target", NAMES)
    out = tmp_path / "runs '1' \"2\" {3} %s"
    task = local_task("folder", "own", 0, 8, 0, (32, 48), place, tmp_path / "cache")
    config = TrainConfig(
        data="folder", recipe="own", data_dir=str(place), out=str(out), method="target_only", profile="tiny",
        steps=2, width=2,
    )  # fmt: skip
    run = training.train(config, task=task)
    wanted = [*task.validation.groups.tolist(), *task.test.groups.tolist()]
    (images,) = [p for p in collect(str(out), str(tmp_path / "results")) if p.name == "images.csv"]
    assert load_table(tmp_path / "results", "folder", "images")["car"].tolist() == task.test.groups.tolist()
    for table in (run / "images.csv", images):
        cells = pd.read_csv(table, dtype=str, keep_default_na=False)
        assert not [c for c in cells["car"] if c.lstrip("\t\r\n ").startswith(("=", "+", "-", "@"))]
    record_property("names", len(set(wanted)))
    everyone = [*wanted, *task.labelled.groups, *task.unlabelled.groups]
    assert sorted(everyone) == sorted(unicodedata.normalize("NFC", name) for name in NAMES)
    assert [source.name for source in task.sources] == ["-2", "=source 'one' {0}\n%s"]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_not_utf_8_is_one_clear_error(tmp_path):
    place = pair(tmp_path / "own")
    for part, ending in (("images", b".jpg"), ("masks", b".png")):
        target = os.path.join(os.fsencode(place / part), b"caf\xe9" + ending)
        try:
            os.rename(place / part / ("a" + ending.decode()), target)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(InputError, match="is not UTF-8; rename it") as error:
        load("folder", SIZE, place, tmp_path / "cache")
    str(error.value).encode()


@pytest.mark.trust("hostile input", "a message is one line that cannot steer a terminal")
def test_names_in_messages_cannot_break_the_line_or_steer_a_terminal(tmp_path):
    place = pair(tmp_path / "own")
    (place / "images" / "a.jpg").rename(place / "images" / "a\n\x1b[2J\u202ex.jpg")
    with pytest.raises(InputError, match=r"image without mask: a\\n\\x1b\[2J\\u202ex") as error:
        load("folder", SIZE, place, tmp_path / "cache")
    assert str(error.value).isprintable()
    assert len(str(InputError("x" * 10**6))) < 2100
