"""Watches the cells from the driver: a line for each, a bar in a terminal, and the tracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from craft_ray.config.documents import flatten
from craft_ray.jobs.live_callback import LiveCallback
from craft_ray.reproduction.cell import ReproductionJob, read_failure, read_result
from craft_ray.reproduction.grid import Cell, shots_in_words
from craft_ray.tracking import Tracker


class CellMonitor(LiveCallback):
    """Tune's callback.

    Args:
        console: where to print.
        tracker: gets the settings and the metrics of every cell.
        job: the cells.
        num_done: cells of an earlier part of the same reproduction.
        on_end: told the backbone of every cell that ends.
    """

    def __init__(
        self,
        console: Console,
        tracker: Tracker,
        job: ReproductionJob,
        num_done: int,
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(
            console,
            TextColumn("{task.completed:.0f}/{task.total:.0f} cells"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
        )
        self._tracker = tracker
        self._job = job
        self._num_done = num_done
        self._on_end = on_end
        self.failed: dict[str, str] = {}
        """Cell -> what went wrong."""
        self._bar = self._progress.add_task("", total=len(job.cells), completed=num_done)

    @property
    def parent_key(self) -> str:
        """The tracker's key of the reproduction itself."""
        return f"{self._job.folder.name}/reproduction"

    def _cell(self, trial: Trial) -> Cell:
        return self._job.cells[trial.config["cell"]]

    def _key(self, cell: Cell) -> str:
        return f"{self._job.folder.name}/{cell.id}"

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Open the cell's run."""
        cell = self._cell(trial)
        settings = flatten(self._job.settings[cell.id].model_dump(mode="json"))
        self._tracker.open(self._key(cell), cell.id, settings, parent=self.parent_key)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Pass the generations on."""
        self._tracker.log(self._key(self._cell(trial)), result.get("points", []))

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say what the cell has found."""
        cell = self._cell(trial)
        result = read_result(self._job.folder, cell.id)
        if result is None:
            error = read_failure(self._job.folder, cell.id)
            if error is None:  # cut by Ctrl-C
                self._tracker.close(self._key(cell), "KILLED")
            else:
                self._fail(cell, error)
            return
        before = result["zero_shot"]["test"]["accuracy"]
        after = result["tuned"]["test"]["accuracy"]
        accuracies = {"zero_shot_test_accuracy": before, "test_accuracy": after}
        self._tracker.log(self._key(cell), [{"generation": 0, **accuracies}])
        self._tracker.close(self._key(cell), "FINISHED")
        self._end(
            cell,
            f"{after:.1%} (zero-shot {before:.1%}), {result['ledger']['candidate_queries']:,} "
            f"queries, {result['seconds']:.0f} s",
        )

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say that the cell has failed; the others go on."""
        self._fail(self._cell(trial), f"see {trial.error_file}")

    def _fail(self, cell: Cell, why: str) -> None:
        self._tracker.close(self._key(cell), "FAILED")
        self.failed[cell.id] = why
        self._end(cell, f"failed: {why}")

    def _end(self, cell: Cell, outcome: str) -> None:
        self._num_done += 1
        self._progress.update(self._bar, completed=self._num_done)
        shots = shots_in_words(cell.shots)
        words = f"{cell.dataset}, {shots}, seed {cell.seed}, {cell.backbone}, {cell.method}"
        place = f"[{self._num_done}/{len(self._job.cells)}]"
        self.say(f"  {place} {words}: {outcome}")
        self._on_end(cell.backbone)
