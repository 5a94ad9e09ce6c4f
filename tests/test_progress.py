"""Long work shows that it is alive: in a log about ten lines, and one whenever it was silent for long."""

from __future__ import annotations

from mstl.system import progress
from mstl.system.progress import Progress


def lines(capsys, steps: int = 100) -> list[str]:
    with Progress("work", steps) as shown:
        for step in range(1, steps + 1):
            if step % 50 == 0 or shown.due():
                shown.update(step)
    return capsys.readouterr().out.splitlines()


def test_a_log_has_a_line_for_every_tenth_of_what_is_reported(capsys):
    assert [line.split("  ")[0] for line in lines(capsys)] == ["work: 50/100", "work: 100/100"]


def test_it_speaks_between_reports_where_it_was_silent_for_long(capsys, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(progress, "EVERY", 20.0)
    steps = [int(line.split()[1].split("/")[0]) for line in lines(capsys)]
    assert {50, 100} < set(steps) and max(b - a for a, b in zip([0, *steps], steps, strict=False)) <= 21
