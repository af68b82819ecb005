"""What a search says while its trials go on."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from craft_ray.config.run import RunConfig
from craft_ray.jobs import pace
from craft_ray.search.monitor import SearchMonitor
from craft_ray.tracking import NullTracker

CONFIG = RunConfig(max_queries=2000)  # 50 generations


def _monitor(console: Console, known: frozenset[int] = frozenset()) -> SearchMonitor:
    return SearchMonitor(
        console, NullTracker(), "run", 2000, lambda _: CONFIG, known, on_end=lambda *_: None
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


def test_without_a_terminal_a_long_trial_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200)), 3)
    *lines, last = text.getvalue().splitlines()
    assert lines == [
        f"  trial 3: generation {n}/50, {40 * n:,} queries, validation 75.0% so far"
        for n in (10, 20, 30, 40)
    ]
    assert last == "  trial 3: validation 75.0% after 2,000 queries, finished"


def test_a_short_trial_is_one_line_and_nothing_else() -> None:
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200)), 1)
    assert text.getvalue() == "  trial 1: validation 75.0% after 2,000 queries, finished\n"


def test_what_an_earlier_part_of_the_search_has_said_is_not_said_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200), known=frozenset({1})), 1)
    assert text.getvalue() == ""


def test_in_a_terminal_the_bars_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_trial(_monitor(Console(file=text, width=200, force_terminal=True)), 1)
    assert "so far" not in text.getvalue()
    assert "2,000 queries, finished" in text.getvalue()
