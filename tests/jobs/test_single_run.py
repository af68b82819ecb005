"""What a single run says while it goes on."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.progress import Progress

from craft_ray.config.run import RunConfig
from craft_ray.jobs.job import JobEnd
from craft_ray.jobs.single_run import LOG_LINES, _Watcher
from craft_ray.tracking import NullTracker


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
            started_s=0.0,
            say=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        ),
    )
    watcher = _Watcher(experiment, Progress(console=console, disable=True))
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
