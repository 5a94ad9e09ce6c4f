"""The committed baseline belongs to the committed tables."""

from __future__ import annotations

import json

import baseline


def test_the_baseline_in_the_repository_is_that_of_the_tables_in_it():
    committed = json.loads(baseline.FILE.read_text(encoding="utf-8"))
    assert committed and committed.keys() == baseline.measured().keys()
    assert all(entry["tolerance"] > 0 and entry["ratio"] > 0 for entry in committed.values())
