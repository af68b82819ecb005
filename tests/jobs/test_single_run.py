"""What a single run says while it goes on."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from craft_ray.config.run import RunConfig
from craft_ray.jobs import run_watcher
from craft_ray.jobs.job import JobEnd
from craft_ray.jobs.run_watcher import LOG_LINES, RunWatcher
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import DataSize
from craft_ray.tracking import NullTracker

SIZE = DataSize(num_train=160, num_validation=40, num_test=100, num_classes=10)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_without_a_terminal_progress_is_in_lines(is_terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=200)
    config = RunConfig(max_queries=8000)
    experiment = cast(
        Any,
        SimpleNamespace(
            console=console,
            tracker=NullTracker(),
            folder=SimpleNamespace(name="run"),
            data=SimpleNamespace(size=SIZE),
            seconds_left=None,
            clock=SimpleNamespace(total_s=12.3),
            examiner=SimpleNamespace(spent=Spending()),
            say=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        ),
    )
    watcher = RunWatcher(experiment, config)
    job = cast(Any, SimpleNamespace(config=config))
    watcher.on_start(job)
    total = config.num_generations
    for generation in range(1, total + 1):
        report = {
            "generation": generation,
            "candidate_queries": 40 * generation,
            "val_accuracy": 0.75,
            "outcome": "finished" if generation == total else "running",
            "points": [{"generation": generation, "val_accuracy": 0.5}],
        }
        watcher.on_report(job, report)
    watcher.on_end(job, JobEnd("finished"))
    lines = text.getvalue().splitlines()
    if is_terminal:
        assert lines == []
        return
    assert 2 <= len(lines) <= LOG_LINES + 2
    assert lines[0] == "Tuning, at most 200 generation(s) ..."
    assert "200/200, 8,000/8,000 queries, validation 50.0% (best 75.0%)" in lines[-1]


def watching(
    text: io.StringIO,
    *,
    price: float | None = None,
    is_terminal: bool = False,
    **settings: Any,
) -> tuple[RunWatcher, Any]:
    console = Console(file=text, force_terminal=is_terminal, width=80)
    config = RunConfig.model_validate(
        {"max_queries": 8000, "price_per_thousand_predictions": price, **settings}
    )
    experiment = SimpleNamespace(
        console=console,
        tracker=NullTracker(),
        folder=SimpleNamespace(name="run"),
        data=SimpleNamespace(size=SIZE),
        seconds_left=None,
        clock=SimpleNamespace(total_s=12.3),
        examiner=SimpleNamespace(spent=Spending(evaluation_predictions=1000)),
        say=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
    )
    return RunWatcher(cast(Any, experiment), config), SimpleNamespace(config=config)


def test_a_minute_without_a_line_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    watcher, job = watching(text, price=2.0)
    progress = {"generation": 10, "candidate_queries": 400, "image_predictions": 7000}
    watcher.on_progress(job, progress)
    assert text.getvalue() == ""
    monkeypatch.setattr(run_watcher, "LINE_EVERY_S", 0.0)
    watcher.on_progress(job, progress)
    assert text.getvalue() == "  400 of at most 8,000 queries, cost 16.00\n"


def test_in_a_terminal_it_moves_between_two_validations() -> None:
    text = io.StringIO()
    watcher, job = watching(text, is_terminal=True)
    with watcher:
        watcher.on_progress(
            job, {"generation": 10, "candidate_queries": 400, "image_predictions": 7000}
        )
    assert "400 of at most 8,000 queries" in text.getvalue()


def reported(generation: int, **words: Any) -> dict[str, Any]:
    point = {"generation": generation, "val_accuracy": 0.5}
    report = {"generation": generation, "candidate_queries": 1, "val_accuracy": 0.75}
    return {**report, "outcome": "running", "points": [point], **words}


def test_the_total_is_what_the_run_will_spend_not_what_it_might() -> None:
    text = io.StringIO()
    watcher, job = watching(text, method="head", head={"kind": "probes"})
    watcher.on_report(job, reported(1, outcome="finished"))
    assert "1/1 queries, validation 50.0% (best 75.0%)" in text.getvalue()


def test_a_method_that_asks_no_candidates_says_nothing_of_queries() -> None:
    text = io.StringIO()
    watcher, job = watching(text, method="head")
    watcher.on_report(job, reported(1, outcome="finished"))
    assert "validation 50.0% (best 75.0%)" in text.getvalue()
    outlook = watcher._show(1, 0, 100)
    assert "queries" not in text.getvalue() + str(outlook)


def test_what_an_earlier_part_has_done_says_nothing_of_the_pace() -> None:
    watcher, job = watching(io.StringIO())
    for generation in range(10, 101, 10):
        watcher.on_report(job, reported(generation, replayed=True))
    assert watcher._show(100, 4000, 0).seconds_left is None
    watcher._started_s -= 10.0
    outlook = watcher._show(110, 4400, 0)  # 10 of 200 generations in 10 s, and 90 are left
    assert outlook.seconds_left == pytest.approx(90, abs=1)


def test_after_the_time_limit_a_run_need_not_come_to_another_validation() -> None:
    watcher, job = watching(io.StringIO())
    cancelled: list[str] = []
    experiment = cast(Any, watcher._experiment)
    experiment.seconds_left, job.id = -1.0, "worker"
    experiment.slots = SimpleNamespace(
        board=SimpleNamespace(cancel=SimpleNamespace(remote=cancelled.append))
    )
    progress = {"generation": 1, "candidate_queries": 40, "image_predictions": 700}
    watcher.on_progress(job, progress)
    assert cancelled == []  # nothing is validated that could be the result
    experiment.seconds_left = 1.0
    watcher.on_report(job, reported(5))
    experiment.seconds_left = -1.0
    watcher.on_progress(job, {**progress, "generation": 6})
    assert cancelled == ["worker"]
