"""Watches the cells from the driver: a line for each, a bar in a terminal or a few more lines
without one, and the tracker."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from craft_ray.jobs.job import JobEnd, Report, read_result
from craft_ray.jobs.outlook import JobProgress
from craft_ray.jobs.pace import Pace, pace_of_one
from craft_ray.jobs.record import run_params, run_tags
from craft_ray.metering.ledger import Spending
from craft_ray.reproduction.cell import CellJob
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.words import shots_in_words
from craft_ray.reproduction.zero_shot import ZeroShotTurns
from craft_ray.tracking import Tracker
from craft_ray.tracking.base import STEP
from craft_ray.tracking.vocabulary import points_of, score_metrics, spent_metrics, step_of


class CellMonitor:
    """Hears of the cells; a `Watcher`.

    Args:
        console: where to print.
        tracker: gets the settings and the metrics of every cell.
        run_name: of the reproduction; prefix of the tracker's keys.
        num_cells: of all, those of an earlier part of the same reproduction included.
        num_done: of those.
        turns: hears which cell has measured zero-shot, and knows what the others tuned.
    """

    def __init__(
        self,
        console: Console,
        tracker: Tracker,
        run_name: str,
        num_cells: int,
        num_done: int,
        turns: ZeroShotTurns,
    ) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} cells"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tracker = tracker
        self._run_name = run_name
        self._num_cells = num_cells
        self._num_done = num_done
        self._turns = turns
        self._open: set[str] = set()
        """The tracker's keys of cells that run."""
        self._paces: dict[str, Pace] = {}
        """Cell -> when its lines are due, where there is no terminal."""
        self.failed: dict[str, str] = {}
        """Cell -> what went wrong."""
        self._bar = self._progress.add_task("", total=num_cells, completed=num_done)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def parent_key(self) -> str:
        """The tracker's key of the reproduction itself."""
        return f"{self._run_name}/reproduction"

    def _key(self, cell: Cell) -> str:
        return f"{self._run_name}/{cell.id}"

    def close_open(self) -> None:
        """What still runs when the reproduction ends was stopped with it, also for the tracker."""
        for key in self._open:
            self._tracker.close(key, "KILLED")

    def on_start(self, job: CellJob) -> None:
        """Open the cell's run."""
        self._paces[job.cell.id] = pace_of_one()
        self._open.add(self._key(job.cell))
        self._tracker.open(
            self._key(job.cell),
            job.cell.id,
            run_params(job.config),
            parent=self.parent_key,
            tags=run_tags("reproduce", job.config, job.cell.dataset),
        )

    def on_report(self, job: CellJob, report: Report) -> None:
        """Pass the generations on."""
        points = points_of(report, job.config.num_generations)
        self._tracker.log(self._key(job.cell), points)
        if self._console.is_terminal or report["outcome"] != "running":
            return
        generation, total = report["generation"], job.config.num_generations
        if self._paces[job.cell.id].is_due(generation / total):
            accuracy = report["val_accuracy"]
            found = "" if accuracy is None else f", validation {accuracy:.1%} so far"
            self._say(
                f"{_words(job.cell)}: generation {generation:,}/{total:,}, "
                f"{_queries(report['candidate_queries'])}{found}"
            )

    def on_progress(self, job: CellJob, progress: JobProgress) -> None:
        """Cells are many, and one of them is no line."""

    def on_end(self, job: CellJob, end: JobEnd) -> None:
        """Say what the cell has found, or why it has failed; the others go on."""
        cell, result = job.cell, read_result(job.folder)
        self._open.discard(self._key(cell))
        self._turns.end(cell, result)
        if result is None:
            why = end.error or f"it was {end.outcome}"
            self._tracker.close(self._key(cell), "FAILED")
            self.failed[cell.id] = why
            self._end(cell, f"failed: {why}")
            return
        before = self._turns.score(cell)
        after = result["tuned"]["test"]["accuracy"]
        spent, seconds = result["ledger"], result["seconds"]
        price = job.config.price_per_thousand_predictions
        cost = None if price is None else Spending.from_dict(spent).cost(price)
        metrics = {
            **score_metrics("test", result["tuned"]["test"]),
            **score_metrics("zero_shot_test", before),
            **spent_metrics(spent, cost, seconds),
        }
        step = step_of(spent["candidate_queries"], 0)
        self._tracker.log(self._key(cell), [{STEP: step, **metrics}])
        self._tracker.close(self._key(cell), "FINISHED")
        ended = "diverged: the last finite state has " if result["outcome"] == "diverged" else ""
        beside = "" if before is None else f" (zero-shot {before['accuracy']:.1%})"
        self._end(
            cell,
            f"{ended}{after:.1%}{beside}, "
            f"{_queries(result['ledger']['candidate_queries'])}, {result['seconds']:.0f} s",
        )

    def _end(self, cell: Cell, outcome: str) -> None:
        self._num_done += 1
        self._progress.update(self._bar, completed=self._num_done)
        self._say(f"[{self._num_done}/{self._num_cells}] {_words(cell)}: {outcome}")

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _queries(number: float) -> str:
    return "1 query" if number == 1 else f"{number:,} queries"


def _words(cell: Cell) -> str:
    shots = shots_in_words(cell.shots)
    return f"{cell.dataset}, {shots}, seed {cell.seed}, {cell.backbone}, {cell.method}"
