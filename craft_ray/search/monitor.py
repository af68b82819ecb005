"""Watches a search from the driver: a line for each trial, bars in a terminal or a few more lines
without one, and the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from craft_ray.config.distributions import Scalar
from craft_ray.config.method_names import method_name
from craft_ray.config.run import RunConfig
from craft_ray.config.variants import VARIANT
from craft_ray.errors import last_words
from craft_ray.jobs.pace import Pace, pace_of_one
from craft_ray.jobs.record import run_params, run_tags
from craft_ray.search.objectives import METRIC, RESOURCE
from craft_ray.search.record import SearchKeys
from craft_ray.search.trial import ERROR
from craft_ray.tracking import Tracker
from craft_ray.tracking.vocabulary import points_of


class SearchMonitor(Callback):
    """Tune's callback.

    Args:
        console: where to print.
        tracker: gets the parameters and the metrics of every generation.
        run_name: prefix of the tracker's keys.
        max_queries: of the longest trial, for the bars.
        settings_of: the run settings of a trial with these parameters.
        known: numbers of the trials that had ended before this part of the search.
        on_end: told the number of every trial that has ended, and whether what it has done is its
            result: not if Tune has lost it.
    """

    def __init__(
        self,
        console: Console,
        tracker: Tracker,
        run_name: str,
        max_queries: int,
        settings_of: Callable[[Mapping[str, Scalar]], RunConfig],
        known: frozenset[int],
        on_end: Callable[[int, bool], None],
    ) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:.0f}/{task.total:.0f} queries"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[state]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tracker = tracker
        self.keys = SearchKeys(run_name)
        """The tracker's, of the search and its trials."""
        self._max_queries = max_queries
        self._settings_of = settings_of
        self._known = known
        self._on_end = on_end
        self._before_first: TaskID | None = None
        self._bars: dict[int, TaskID] = {}
        self._paces: dict[int, tuple[Pace, int]] = {}
        """Number -> when its lines are due without a terminal, and its generations at most."""
        self._started: set[int] = set()
        self.ended: dict[int, str] = {}
        """Number -> how it ended, of the trials that came to an end. Tune's count includes those
        that Ctrl-C cut."""
        self.errors: dict[int, str] = {}
        """Number -> what went wrong."""

    def __enter__(self) -> Self:
        self._progress.start()
        # Tune takes seconds to start the first trial.
        self._before_first = self._progress.add_task(
            "starting", total=self._max_queries, state="the first trial"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close_open(self) -> None:
        """What still runs when the search ends was stopped with it, also for the tracker."""
        for number in self._started - self.ended.keys():
            self._tracker.close(self.keys.of(number), "KILLED")

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Open the trial's run."""
        if self._before_first is not None:
            self._progress.remove_task(self._before_first)
            self._before_first = None
        number, name = number_of(trial), f"trial {number_of(trial)}"
        self._started.add(number)
        config = self._settings_of(trial.config)
        method = trial.config.get(VARIANT) or method_name(config)
        self._tracker.open(
            self.keys.of(number),
            f"{name}: {method}",
            run_params(config),
            parent=self.keys.parent,
            tags={**run_tags("tune", config), "method": str(method)},
        )
        if number not in self._bars and number not in self._known:
            self._bars[number] = self._progress.add_task(
                name, total=self._max_queries, state="starting"
            )
            self._paces[number] = pace_of_one(), config.num_generations

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Pass the generations on."""
        number = number_of(trial)
        self._tracker.log(self.keys.of(number), points_of(result))
        if METRIC not in result or number not in self._bars:
            return
        words = f"validation {result[METRIC]:.1%}"
        self._progress.update(self._bars[number], completed=result[RESOURCE], state=words)
        if self._console.is_terminal or result["outcome"] != "running":
            return
        (pace, total), generation = self._paces[number], result["generation"]
        if pace.is_due(generation / total):
            self.say(
                f"  trial {number}: generation {generation:,}/{total:,}, {result[RESOURCE]:,.0f} "
                f"queries, {words} so far"
            )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the trial's run."""
        number, result = number_of(trial), trial.last_result
        outcome = result.get("outcome", "failed")
        if outcome == "failed":
            self._fail(number, str(result.get(ERROR)))
            return
        self._tracker.close(self.keys.of(number), "FINISHED")
        status = "stopped early" if outcome == "running" else outcome
        queries = result[RESOURCE]
        self._end(
            number,
            status,
            f"validation {result[METRIC]:.1%} after {queries:,.0f} "
            f"{'query' if queries == 1 else 'queries'}, {status}",
        )

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say that the trial's process is started again; its job goes on meanwhile."""
        self.say(f"  trial {number_of(trial)}: its process was lost, and is started again")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the trial's run as failed."""
        words = "its process was lost again and again"
        if trial.error_file is not None and (path := Path(trial.error_file)).is_file():
            words = last_words(RuntimeError(path.read_text()))
        self._fail(number_of(trial), words)

    def _fail(self, number: int, error: str) -> None:
        self._tracker.close(self.keys.of(number), "FAILED")
        self.errors[number] = error
        self._end(number, "failed", f"failed: {error}")

    def _end(self, number: int, status: str, words: str) -> None:
        self.ended[number] = status
        if (bar := self._bars.pop(number, None)) is not None:
            self._progress.remove_task(bar)
        if number not in self._known:
            self.say(f"  trial {number}: {words}")
        self._on_end(number, status != "failed")

    # Tune stores its callbacks with the experiment, and what is live here (a terminal, a database
    # connection) cannot be stored: a placeholder is.
    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        return (Callback, ())


def number_of(trial: Trial) -> int:
    """A trial's number, from 1: Tune's tag starts with it."""
    return int(trial.experiment_tag.split("_")[0])
