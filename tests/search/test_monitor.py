"""What a search says while its trials go on."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import Spending
from craft_ray.search.display import SearchDisplay
from craft_ray.search.monitor import SearchMonitor
from craft_ray.tracking import NullTracker

MOST = Spending(candidate_queries=2000)


def _monitor(console: Console, known: frozenset[int] = frozenset()) -> SearchMonitor:
    display = SearchDisplay(console, 4, len(known), 6000, dict)
    return SearchMonitor(
        display,
        NullTracker(),
        "run",
        lambda _: RunConfig(),
        lambda _: MOST,
        known,
        on_end=lambda *_: None,
    )


def _run_trial(monitor: SearchMonitor, number: int) -> None:
    trial = cast(Any, SimpleNamespace(experiment_tag=f"{number}_", config={}, last_result=None))
    with monitor:
        monitor.on_trial_start(0, [], trial)
        for generation in range(5, 51, 5):
            trial.last_result = {
                "generation": generation,
                "candidate_queries": 40.0 * generation,
                "val_accuracy": 0.75,
                "outcome": "finished" if generation == 50 else "running",
                "points": [],
            }
            monitor.on_trial_result(0, [], trial, trial.last_result)
        monitor.on_trial_complete(0, [], trial)


def test_a_short_trial_is_one_line_and_nothing_else() -> None:
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200)), 1)
    assert text.getvalue() == "  trial 1: validation 75.0% after 2,000 queries, finished\n"


def test_what_an_earlier_part_of_the_search_has_said_is_not_said_again() -> None:
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200), known=frozenset({1})), 1)
    assert text.getvalue() == ""


def test_in_a_terminal_the_bars_say_it() -> None:
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=80, force_terminal=True)), 1)
    assert "trials 1/4, best 75.0%, 2,000 of at most 6,000 queries" in text.getvalue()
    assert "trial 1: validation 75.0% after 2,000 queries, finished" in text.getvalue()
    # Whoever asks Ray after its end would end the process.
    assert "search-display" not in {thread.name for thread in threading.enumerate()}


class Told:
    """What jobs say between their reports, and a clock that is set."""

    def __init__(self) -> None:
        self.progress: dict[str, dict[str, int]] = {}
        self.now = 0.0

    def display(self, text: io.StringIO, *, num_known: int = 0) -> SearchDisplay:
        return SearchDisplay(
            Console(file=text, width=80),
            4,
            num_known,
            6000,
            lambda: self.progress,
            lambda predictions: predictions / 1000,
            lambda: self.now,
        )


def test_without_a_terminal_a_minute_without_a_line_ends_with_one() -> None:
    told, text = Told(), io.StringIO()
    display = told.display(text)
    display.begin(1, MOST)
    told.now = 59.0
    told.progress = {"1": {"candidate_queries": 1000, "image_predictions": 64_000, "generation": 5}}
    display.look()
    assert text.getvalue() == ""
    told.now = 60.0
    display.look()
    # An eighth of four trials is done in a minute.
    assert text.getvalue() == (
        "  trials 0/4, 1,000 of at most 6,000 queries, cost 64.00, about 7:00 left\n"
    )
    display.look()
    assert text.getvalue().count("\n") == 1


def test_what_was_done_before_says_nothing_of_the_pace() -> None:
    told = Told()
    display = told.display(io.StringIO(), num_known=2)
    for number in (1, 2):
        display.begin(number, MOST, is_shown=False)
        display.move(number, 2000, 1, 0.5)
        display.end(number)
    told.now = 10.0
    assert display.outlook.seconds_left is None
    display.begin(3, MOST)
    display.move(3, 1000, 1, 0.6)
    assert display.outlook.seconds_left == pytest.approx(10 * 0.375 / 0.125)
    assert display.outlook.best == 0.6


def test_what_is_told_late_or_cannot_be_asked_changes_nothing() -> None:
    told = Told()
    display = told.display(io.StringIO())
    display.begin(1, MOST)
    display.move(1, 1000, 50, 0.5)
    told.progress = {
        "1": {"candidate_queries": 10, "image_predictions": 5, "generation": 1},
        "9": {"candidate_queries": 10, "image_predictions": 5, "generation": 1},
    }
    display.look()
    assert display.outlook.queries == 1000
    display._ask_progress = lambda: 1 / 0  # type: ignore[assignment, return-value]
    display.look()
    assert display.outlook.queries == 1000


def test_a_trial_that_asks_no_candidates_is_shown_by_its_predictions() -> None:
    told = Told()
    display = told.display(io.StringIO())
    display.begin(1, Spending(head_predictions=1000))
    told.progress = {"1": {"candidate_queries": 0, "image_predictions": 500, "generation": 5}}
    told.now = 10.0
    display.look()
    assert display.outlook.share == pytest.approx(0.125)
    assert str(display._trials[1]) == "trial 1: 500/1,000 predictions"
    display.begin(2, Spending())  # nothing at all: all is answered already
    assert display.outlook.share == pytest.approx(0.125)


def test_what_an_unfinished_trial_has_done_before_says_nothing_of_the_pace() -> None:
    told = Told()
    display = told.display(io.StringIO())
    display.begin(1, MOST)
    told.now = 1.0
    for queries in (500, 1000):
        display.move(1, queries, 0, 0.5, is_replayed=True)
    assert display.outlook.seconds_left is None
    told.now = 10.0
    display.move(1, 1500, 0, 0.5)
    assert display.outlook.seconds_left == pytest.approx(10 * 0.8125 / 0.0625)
