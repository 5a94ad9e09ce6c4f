"""Names of runs: what `Setting` and `Variant` write they read back, whatever is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstl.report.results import name_columns
from mstl.run.config import TrainConfig
from mstl.run.names import Setting, Variant, changes_of, separate
from mstl.system.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

recipes = st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True)
settings = st.builds(
    Setting,
    recipes,
    st.integers(0, 99),
    st.lists(st.sampled_from(["useless", "harmful"]), unique=True).map(tuple),
    st.lists(st.text(min_size=1)).map(tuple),
)
identifiers = st.from_regex(r"[a-z][a-z_0-9]*", fullmatch=True)
values = st.sampled_from(["1e+3", "-1e-3", "1E+03", "none", "", "a+b", "1+1=2", "x=y"]) | st.floats().map(str)
variants = st.builds(
    Variant,
    identifiers,
    st.lists(
        st.tuples(identifiers.filter(lambda name: name not in ("mean_teacher", "steps")), values),
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    st.none() | st.floats(0, 1e6),
    st.none() | st.integers(1, 10**9),
)


@given(settings)
def test_a_setting_is_read_as_it_was_written_and_is_the_name_of_one_folder(setting):
    assert Setting.parse(str(setting)) == setting
    assert "/" not in str(setting) and "\\" not in str(setting)


@given(variants)
def test_a_variant_is_read_as_it_was_written(variant):
    text = str(variant)
    assert Variant.parse(text) == variant and str(Variant.parse(text)) == text
    assert separate(variant.change) == list(variant.changes) or not variant.changes
    assert Variant.of(variant.method, variant.override_text, variant.mean_teacher, variant.steps) == variant


def test_a_plus_sign_within_a_number_is_no_change():
    variant = Variant.parse("mfsan+weight=1e+3+mean_teacher=1.5e+06+steps=900")
    assert variant == Variant("mfsan", (("weight", "1e+3"),), 1.5e6, 900)
    config = TrainConfig(method="mfsan", overrides="weight=1e+3", mean_teacher=1e6, steps=900, ema=0.9)
    assert config.variant == "mfsan+weight=1e+3+mean_teacher=1e+06+steps=900"
    assert Variant.parse(config.variant) == config.named_variant


def test_names_that_readers_have_seen_stay():
    config = TrainConfig(
        recipe="parts-plain",
        sources=2,
        extra="harmful",
        without="front,left side",
        method="mstl_plus",
        overrides="attention=both discriminator_reads=attended",
        mean_teacher=10,
        steps=770,
    )
    assert config.setting == "parts-plain-2+harmful~front~left side"
    assert config.variant == "mstl_plus+attention=both+discriminator_reads=attended+mean_teacher=10+steps=770"
    assert name_columns(config.setting, config.variant) == {
        "base_recipe": "parts-plain",
        "own_sources": 2,
        "extra": "harmful",
        "without": "front, left side",
        "keep": "",
        "base_method": "mstl_plus",
        "overrides": "attention=both discriminator_reads=attended",
        "mean_teacher": 10,
        "own_steps": 770,
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("attention", "'attention' is not name=value"),
        ("=1", "'=1' is not name=value"),
        ("strength=1 gain=5 strength=2", "strength stands there 2 times"),
        ("steps=900", "steps is a parameter of its own; write steps=900"),
        ("a=b+c=d", "'a=b\\+c=d' is not name=value"),
    ],
)
def test_overrides_that_no_name_can_hold_are_refused(overrides, message):
    for refused in (changes_of, lambda text: TrainConfig(overrides=text)):
        with pytest.raises(InputError, match=message):
            refused(overrides)


@pytest.mark.parametrize("text", ["", "+harmful", "parts~", "parts~a+b", "parts++a"])
def test_what_names_no_setting_is_refused(text):
    with pytest.raises(InputError, match="names no setting"):
        Setting.parse(text)


def test_a_variant_with_a_number_that_is_none_is_refused():
    with pytest.raises(InputError, match="names no variant"):
        Variant.parse("dann+steps=many")


def test_nobody_else_takes_a_name_apart():
    """No call that looks for ``+``, ``~`` or ``name=`` in a text."""
    apart = re.compile(
        r"""(?:split|partition|startswith|removeprefix|replace|find|index|contains)\(\s*f?["'][^"' ]*[+~]"""
        r"""|["'][+~]\w*=?["'] in |["'](?:steps|mean_teacher)=["']"""
    )
    rooms = ("mstl", "workflow", "tools", "notebooks", "benchmarks")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if path.name != "names.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if apart.search(line)
    ]
    assert len(files) > 80 and found == []
