"""What a reproduction says while its cells go on."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from craft_ray.config.run import RunConfig
from craft_ray.files.remote import locate
from craft_ray.jobs import pace
from craft_ray.jobs.job import JobEnd
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.monitor import CellMonitor
from craft_ray.tracking import NullTracker

CELL = Cell("RN50", "eurosat", "craft", 16, 2)
WORDS = "eurosat, 16 shots, seed 2, RN50, craft"


def _run_cell(console: Console, folder: Path, accuracy: float | None = 0.75) -> None:
    config = RunConfig(max_queries=2000)  # 50 generations
    job = cast(Any, SimpleNamespace(cell=CELL, config=config, folder=locate(str(folder))))
    with CellMonitor(console, NullTracker(), "run", num_cells=4, num_done=0) as monitor:
        monitor.on_start(job)
        for generation in range(5, 51, 5):
            report: dict[str, Any] = {
                "generation": generation,
                "candidate_queries": 40 * generation,
                "val_accuracy": accuracy,
                "outcome": "finished" if generation == 50 else "running",
                "points": [],
            }
            monitor.on_report(job, report)
        monitor.on_end(job, JobEnd("failed", "the disk is full"))


def test_without_a_terminal_a_long_cell_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_cell(Console(file=text, width=200), tmp_path)
    *lines, last = text.getvalue().splitlines()
    assert lines == [
        f"  {WORDS}: generation {n}/50, {40 * n:,} queries, validation 75.0% so far"
        for n in (10, 20, 30, 40)
    ]
    assert last == f"  [1/4] {WORDS}: failed: the disk is full"


def test_without_validation_images_it_says_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_cell(Console(file=text, width=200), tmp_path, accuracy=None)
    assert text.getvalue().startswith(f"  {WORDS}: generation 10/50, 400 queries\n")


def test_a_short_cell_is_one_line_and_nothing_else(tmp_path: Path) -> None:
    text = io.StringIO()
    _run_cell(Console(file=text, width=200), tmp_path)
    assert text.getvalue() == f"  [1/4] {WORDS}: failed: the disk is full\n"


def test_in_a_terminal_the_bar_says_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pace, "SECONDS_OF_ONE", 0.0)
    text = io.StringIO()
    _run_cell(Console(file=text, width=200, force_terminal=True), tmp_path)
    assert "so far" not in text.getvalue()
