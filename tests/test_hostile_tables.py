"""Tables and run lengths that nobody checked before: encodings, quotes, numbers without end, formulas."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn_cars import carvana_folder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_carparts import SIDE, carparts_folder
from test_folder import save_pair

import sweep_file
from mstl.data import decode_rle, encode_rle
from mstl.data.readers import carparts, folder
from mstl.data.readers.carvana import read_rle_table
from mstl.data.readers.folder import read_groups
from mstl.data.readers.tables import read_rows
from mstl.report import results
from mstl.system.errors import InputError
from mstl.system.tables import from_cell, read_csv, to_cell, to_cells


def table(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "groups.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


IMAGES = {"a": Path("a.jpg"), "b": Path("b.jpg")}


@pytest.mark.parametrize(
    "content",
    [
        "name,group\na,x\nb,y\n",
        "\ufeffname,group\na,x\nb,y\n",
        "name,group\r\na,x\r\nb,y\r\n",
        "name,group\ra,x\rb,y",
        '"name","group"\n"a","x"\n\n"b.jpg",y\n\n',
        "note,group,name\n=1+1,x,a\n,y,b\n",
        "name,group,note\na,x\nb,y,z,more\n",
    ],
    ids=["plain", "mark", "CRLF", "CR", "quotes", "order", "ragged"],
)
def test_every_form_of_the_table_says_the_same(tmp_path, content):
    assert read_groups(table(tmp_path, content), IMAGES) == {"a": "x", "b": "y"}


@pytest.mark.trust("hostile input", "a table that is no table is one clear error")
@pytest.mark.parametrize(
    "content, message",
    [
        ("", "columns name and group, but name is missing; found none"),
        ("name,group\na,x\nb\n", "line 3: expected a cell for each of name, group; found 1"),
        ("name,group\na,x\nb,\n", "line 3: a name has 1 to 255 characters"),
        (
            "name,group\na,x\nb," + "y" * 10**6,
            "line 3: a name has 1 to 255 characters other than NUL; got 1000000",
        ),
        ("name,group\na,x\nb,y\0\n", "holds a NUL"),
        ("name,group\na,caf\xe9\n".encode("latin-1"), "is not UTF-8"),
        ("name,group\na,x\n".encode("utf-16"), "is not UTF-8"),
        ("name,group,name\na,x,b\n", "each once; found name, group, name"),
        ('name,group\na,"x\nb,y\n', "no CSV"),
        ('name,group\na,"x"y\n', "no CSV"),
        ("name,group" + ",c" * 10**6 + "\n", "found 1,000,002 columns"),
        ("name,group\na," + "y" * (2**24 + 1) + "\n", "no CSV .field larger than"),
        ("name,group\n" + "9" * 10**6 + ",x\n", "must list each image once"),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path, content, message):
    with pytest.raises(InputError, match=rf"groups\.csv.*{message}") as error:
        read_groups(table(tmp_path, content), IMAGES)
    assert str(error.value).isprintable() and len(str(error.value)) < 2100


def test_run_lengths_have_their_own_table_and_the_same_errors(tmp_path):
    path = carvana_folder(tmp_path / "cars", cars=1, views=(1,), table=True) / "train_masks.csv"
    whole = path.read_text()
    assert list(read_rle_table(path)) == ["car00_01"]
    for content in ("img,rle_mask\ncar00_01.jpg\n", whole.replace("rle_mask", "img"), whole + '"'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"train_masks\.csv"):
            read_rle_table(path)


def test_a_superscript_is_no_view_number(tmp_path):
    for name in ("car_1", "car_²", "car_٣"):
        save_pair(tmp_path / "own", name)
    assert [r.view for r in folder.listing(tmp_path / "own").records] == [1, 0, 0]


@given(st.binary(max_size=300))
@example(b'name,group\n"')
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
def test_any_bytes_are_rows_or_one_clear_error(tmp_path, content):
    for start in (b"", b"name,group\n"):
        try:
            rows = list(read_rows(table(tmp_path, start + content), ("name", "group")))
        except InputError as error:
            assert str(error).isprintable()
        else:
            assert all(len(cells) == 2 for _, cells in rows)


# Sweeps


@pytest.mark.trust("hostile input", "a sweep file cannot run code, and what is no sweep is one clear error")
@pytest.mark.parametrize(
    "content",
    [
        b"!!python/object/apply:builtins.open [ran, w]",
        b"[" * 5000,
        b"\xff",
        b"a: &a [x]\nb: *a",
        b"- 1",
        b"\0",
    ],
    ids=["code", "deep", "bytes", "keys", "list", "nul"],
)
def test_what_is_no_sweep_is_one_clear_error(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.yaml") as error:
        sweep_file.read(tmp_path / "x.yaml")
    assert str(error.value).isprintable() and not (tmp_path / "ran").exists()


# COCO


@pytest.mark.trust("hostile input", "annotations of impossible kinds and places are one clear error")
@pytest.mark.parametrize(
    "content, message",
    [
        ('{"images": ' + "[" * 100_000, "is not JSON"),
        ('{"images": ' + "9" * 10_000 + "}", "is not JSON"),
        (b'{"images": "\xe9"}', "is not JSON"),
        ("null", "not a COCO annotation file"),
        ('{"categories": [], "images": [{"id": 1}], "annotations": []}', "not a COCO annotation file"),
        ('{"categories": [], "images": [{"id": [], "file_name": "a"}], "annotations": []}', "not a COCO"),
        ('{"categories": [], "images": 5, "annotations": []}', "not a COCO annotation file"),
    ],
    ids=["deep", "digits", "latin-1", "null", "no name", "list as id", "number"],
)
def test_what_is_no_annotation_file_is_one_clear_error(tmp_path, content, message):
    place = carparts_folder(tmp_path / "own", {"a": SIDE})
    (place / "annotations.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        carparts.listing(place)


@pytest.mark.parametrize(
    "polygon",
    [
        *(f"[{x}, 1, 2, 2, 3, 3]" for x in ("1e309", "NaN", "1e9", "null", "[1]", '"1"')),
        *('"abcdef"', "7", "null", "{}"),
    ],
)
def test_a_polygon_that_cannot_be_drawn_is_one_clear_error(tmp_path, polygon):
    place = carparts_folder(tmp_path / "own", {"a": SIDE})
    content = json.loads((place / "annotations.json").read_text())
    content["annotations"][0]["segmentation"] = ["here"]
    text = json.dumps(content).replace('"here"', polygon)
    (place / "annotations.json").write_text(text)
    with pytest.raises(InputError, match="must be a list of polygons"):
        carparts.listing(place)


# Formulas


def could_run(cell: str) -> bool:
    """Whether a spreadsheet would take some part of the cell for a formula."""
    return any(
        part.strip()[:1] in tuple("=+-@＝＋－＠") for part in re.split(r"[;\t\r\n]", cell) if part.strip()
    )


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\r\n=1",
    "a;=1",
    "a;\t +1",
    "'=1",
    "''=1",
    "'",
    "＝1",
]


@pytest.mark.trust(
    "hostile input", "no cell of a table we write runs as a formula, and every cell reads back"
)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_written_as_text_and_read_back(tmp_path, name):
    assert not could_run(to_cell(name)) and from_cell(to_cell(name)) == name
    path = tmp_path / "cars.csv"
    to_cells(pd.DataFrame({"car": [name, "b"], "dice": [-0.5, 1.0]})).to_csv(path, index=False)
    read = read_csv(path)
    assert read["car"].tolist() == [name, "b"] and read["dice"].tolist() == [-0.5, 1.0]


@given(st.text(alphabet=st.sampled_from("=+-@＝';\t\r\n ab"), max_size=12) | st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_no_text_runs_and_every_text_reads_back(text):
    assert not could_run(to_cell(text))
    assert from_cell(to_cell(text)) == text


def test_a_car_called_na_is_a_car(tmp_path):
    names = ["NA", "null", "", "nan", "1e5", "007", "a\r\nb", '"', "True"]
    pd.DataFrame({"car": names, "dice": 0.5}).to_csv(tmp_path / "cars.csv", index=False)
    assert read_csv(tmp_path / "cars.csv")["car"].tolist() == names
    assert results.car_means(read_csv(tmp_path / "cars.csv"))["images"].sum() == len(names)


def finished_run(path: Path, **changes) -> Path:
    """The three files that `collect` reads of a run."""
    path.mkdir(parents=True)
    settings = dict.fromkeys(("recipe", "profile", "variant"), "x") | {
        "data": "studio",
        "labels": 1,
        "seed": 0,
    }
    manifest = {
        "settings": settings | {"steps": 1, "sources": 1, "method": "x"} | changes, "sources": ["s"],
        "domain_probe": {}, "parameters": 1, "seconds_training": 1, "peak_memory_gib": {"host": 1},
        "device": "CPU", "precision": "32", "commit": "c", "data_fingerprint": "f", "command": "=1+1",
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    rows = ["split,car,view,dice,iou", "test,'=a,1,0.5,0.4", "validation,b,1,0.5,0.4", ""]
    (path / "images.csv").write_text("\n".join(rows))
    (path / "metrics.jsonl").write_text('{"step": 1, "progress": 1, "seconds": 1}\n')
    return path


def test_collecting_keeps_names_and_runs_no_formula(tmp_path):
    finished_run(tmp_path / "runs" / "r")
    for path in results.collect(str(tmp_path / "runs"), str(tmp_path / "out")):
        assert not re.search(r"(^|,)=", path.read_text(), re.MULTILINE)
    assert results.load(tmp_path / "out", "studio", "images")["car"].tolist() == ["=a"]
    assert results.load(tmp_path / "out", "studio", "runs")["command"].tolist() == ["=1+1"]


@pytest.mark.trust("hostile input", "a run folder of others cannot write outside the folder of results")
@pytest.mark.parametrize("data", ["../elsewhere", "/elsewhere", "a/b", "..", ".", "", None, ["x"]])
def test_tables_are_written_below_their_folder_only(tmp_path, data):
    finished_run(tmp_path / "runs" / "r", data=data)
    with pytest.raises(InputError, match=r"run .* cannot be read"):
        results.collect(str(tmp_path / "runs"), str(tmp_path / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    "name, content",
    [
        ("manifest.json", b""), ("manifest.json", b"[]"), ("manifest.json", b"null"),
        ("manifest.json", b"\xff"), ("manifest.json", b"[" * 100_000), ("manifest.json", b'{"settings": []}'),
        ("images.csv", b""), ("images.csv", b"split,car\ntest,a\n"), ("images.csv", b"\xff\xfe"),
        ("images.csv", b"split,car,dice,iou\ntest,a,=1+1,0\nvalidation,a,1,1\n"),
        ("metrics.jsonl", b"{"), ("metrics.jsonl", b"\xff"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_one_clear_error_that_names_it(tmp_path, name, content):
    (finished_run(tmp_path / "runs" / "r") / name).write_bytes(content)
    with pytest.raises(InputError, match=r"run .*runs/r cannot be read") as error:
        results.collect(str(tmp_path / "runs"), str(tmp_path / "out"))
    assert "\n" not in str(error.value)


# Run lengths

HEIGHT, WIDTH = 7, 9
NUMBERS = st.integers(-3, 70) | st.sampled_from([0, -1, 10**18, 2**63 - 1, 2**63, -(2**63), 10**40])
WORDS = NUMBERS.map(str) | st.sampled_from(
    ["", "1_0", "+1", "1.0", "٣", "²", "１", "1e3", "0x1", "nan", "\0", "-"]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=30)
MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1))


def check_text(text: str) -> bool:
    """A text is refused in one line, or is the mask that encodes to the same runs in order."""
    try:
        mask = decode_rle(text, HEIGHT, WIDTH, "car_01")
    except InputError as error:
        assert str(error).startswith("car_01: ") and str(error).isprintable() and len(str(error)) < 300
        return False
    assert mask.dtype == np.uint8 and mask.shape == (HEIGHT, WIDTH) and set(np.unique(mask)) <= {0, 1}
    assert all(word.isascii() and word.isdigit() for word in text.split())
    numbers = [int(word) for word in text.split()]
    assert mask.sum() == sum(numbers[1::2])
    assert np.array_equal(decode_rle(encode_rle(mask), HEIGHT, WIDTH), mask)
    return True


def check_mask(mask: np.ndarray) -> None:
    text = encode_rle(mask)
    again = decode_rle(text, *mask.shape)
    assert np.array_equal(again, mask) and encode_rle(again) == text


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_mask_or_one_clear_error(text):
    check_text(text)


@pytest.mark.parametrize("text", ["1 ٣", "1 ２", "1 ²", "1 1_0", "+1 2", "1 2.0", "1 0x2", "1,2", "1 2\0"])
def test_digits_of_other_scripts_and_python_s_own_forms_are_no_numbers(text):
    with pytest.raises(InputError, match="integers only"):
        decode_rle(text, HEIGHT, WIDTH)


@given(MASKS)
@settings(max_examples=200, deadline=None)
def test_every_mask_comes_back_exactly(mask):
    check_mask(mask)


@pytest.mark.long
@pytest.mark.trust(
    "hostile input", "run lengths decode exactly or are refused in one line, whatever the text"
)
def test_a_hundred_thousand_texts_and_masks(record_property):
    seen = {"masks there and back": 0, "texts decoded": 0, "texts refused": 0}
    lengths = st.lists(st.integers(1, 4), max_size=14)  # runs that fit, so that many texts are masks

    @given(TEXTS)
    @settings(max_examples=40_000, deadline=None, database=None)
    def texts(text):
        seen["texts decoded" if check_text(text) else "texts refused"] += 1

    @given(lengths, st.randoms(use_true_random=False))
    @settings(max_examples=20_000, deadline=None, database=None)
    def runs(steps, random):
        ends = np.cumsum(steps)
        pairs = [f"{end - n + 1} {random.randint(1, n)}" for end, n in zip(ends, steps, strict=True)]
        random.shuffle(pairs)
        seen["texts decoded" if check_text(" ".join(pairs)) else "texts refused"] += 1

    @given(MASKS)
    @settings(max_examples=45_000, deadline=None, database=None)
    def masks(mask):
        check_mask(mask)
        seen["masks there and back"] += 1

    texts(), runs(), masks()
    record_property("cases", sum(seen.values()))
    for name, count in seen.items():
        record_property(name, count)
    assert sum(seen.values()) >= 100_000


@pytest.mark.trust(
    "hostile input", "a run-length mask takes the memory of its mask, whatever lengths it names"
)
@pytest.mark.parametrize("text", ["1 " + "9" * 18, "1 " + "9" * 10**6, "9" * 18 + " 1", "1 -" + "9" * 18])
def test_a_length_without_end_takes_no_memory(text):
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(InputError):
        decode_rle(text, HEIGHT, WIDTH)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(text) + 100_000
