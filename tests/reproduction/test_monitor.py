"""What a reproduction says while its cells go on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.files.remote import locate
from craft_ray.jobs import pace
from craft_ray.jobs.job import JobEnd, write_result
from craft_ray.metering.ledger import Spending
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.monitor import CellMonitor
from craft_ray.reproduction.zero_shot import ZeroShotTurns
from craft_ray.tracking import NullTracker

CELL = Cell("RN50", "eurosat", "craft", 16, 2)
GRID = ReproductionConfig(datasets=("embedded",))
WORDS = "eurosat, 16 shots, seed 2, RN50, craft"


def _run_cell(console: Console, folder: Path, accuracy: float | None = 0.75) -> None:
    config = RunConfig(max_queries=2000)  # 50 generations
    job = cast(Any, SimpleNamespace(cell=CELL, config=config, folder=locate(str(folder))))
    turns = ZeroShotTurns({CELL: config}, GRID, ())
    with CellMonitor(console, NullTracker(), "run", 4, 0, turns) as monitor:
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


class Remembering(NullTracker):
    """The zero-shot accuracies that it was told, in order."""

    def __init__(self) -> None:
        self.zero_shot: list[float | None] = []

    def log(self, key: str, points: Sequence[Mapping[str, float]]) -> None:
        self.zero_shot += [point.get("accuracy/zero_shot_test") for point in points]


def test_what_another_cell_has_measured_stands_beside_each_result(tmp_path: Path) -> None:
    text = io.StringIO()
    config = RunConfig(max_queries=80)
    first, second = CELL, replace(CELL, seed=3)
    turns = ZeroShotTurns(dict.fromkeys((first, second), config), GRID, ())
    tracker = Remembering()
    assert turns.take(first) is not None
    with CellMonitor(Console(file=text, width=200), tracker, "run", 2, 0, turns) as monitor:
        for cell, accuracy in ((second, 0.5), (first, 0.75), (second, 0.5)):
            folder = tmp_path / f"{cell.id} {text.tell()}"
            folder.mkdir()
            zero_shot = {"test": {"accuracy": 0.25, "loss": 1.0}} if cell == first else None
            result = {
                "outcome": "finished",
                "zero_shot": zero_shot,
                "shifted": {},
                "tuned": {"test": {"accuracy": accuracy, "loss": 1.0}},
                "ledger": Spending().as_dict(),
                "seconds": 1.0,
            }
            write_result(locate(str(folder)), result)
            job = cast(Any, SimpleNamespace(cell=cell, config=config, folder=locate(str(folder))))
            monitor.on_start(job)
            monitor.on_end(job, JobEnd("finished"))
    before, measured, after = (line.split(": ", 1)[1] for line in text.getvalue().splitlines())
    assert before == "50.0%, 0 queries, 1 s", "it is not known yet"
    assert measured == "75.0% (zero-shot 25.0%), 0 queries, 1 s"
    assert after == "50.0% (zero-shot 25.0%), 0 queries, 1 s"
    assert tracker.zero_shot == [None, 0.25, 0.25]
