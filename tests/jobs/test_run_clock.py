"""A resumed run knows how long it has taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.jobs.outlook import Outlook, as_clock
from craft_ray.jobs.run_clock import CLOCK_FILE, RunClock


def test_parts_add_up(tmp_path: Path) -> None:
    now = 100.0
    first = RunClock(tmp_path, lambda: now)
    now = 130.0
    assert (first.here_s, first.total_s) == (30, 30)
    first.store_if_possible()
    second = RunClock(tmp_path, lambda: now)
    now = 140.0
    assert (second.here_s, second.total_s) == (10, 40)


@pytest.mark.parametrize("text", ["", "{}", '{"seconds": "x"}', '{"seconds": -5}', "[1]"])
def test_a_damaged_clock_ends_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / CLOCK_FILE).write_text(text)
    assert RunClock(tmp_path, lambda: 5.0).total_s == 0


def test_a_place_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    RunClock(tmp_path / "no such folder").store_if_possible()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00"), (7.4, "0:07"), (100, "1:40"), (7500, "2:05:00")]
)
def test_times_as_clocks(seconds: float, words: str) -> None:
    assert as_clock(seconds) == words


def test_an_outlook_fits_into_80_columns_beside_its_bar() -> None:
    outlook = Outlook(12_345, 128_000, 0.76, 1234.5, 0.5, 0.0, 9000.0, 2, 16)
    assert str(outlook) == (
        "trials 2/16, best 76.0%, 12,345 of at most 128,000 queries, cost 1,234.50, about "
        "2:30:00 left"
    )
    assert len(Outlook(12, 2500, 0.76, None, 0.5, 0.0, 100, 2, 6).within(71)) <= 71
    paid = Outlook(1166, 1801, 0.769, 0.99, 0.5, 0.0, 17, 2, 4)
    assert paid.within(71) == (
        "trials 2/4, best 76.9%, 1,166/1,801 queries, cost 0.99, about 0:17 left"
    )
