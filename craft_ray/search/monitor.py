"""Watches a search from the driver: what its display shows, and the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from ray.tune import Callback
from ray.tune.experiment import Trial

from craft_ray.config.distributions import Scalar
from craft_ray.config.method_names import method_name
from craft_ray.config.run import RunConfig
from craft_ray.config.variants import VARIANT
from craft_ray.errors import last_words
from craft_ray.jobs.job import REPLAYED
from craft_ray.jobs.record import run_params, run_tags
from craft_ray.metering.ledger import Spending
from craft_ray.search.display import SearchDisplay
from craft_ray.search.objectives import COMPARED_ON, METRIC, RESOURCE, as_measured
from craft_ray.search.record import SearchKeys
from craft_ray.search.trial import ERROR
from craft_ray.tracking import Tracker
from craft_ray.tracking.vocabulary import points_of


class SearchMonitor(Callback):
    """Tune's callback.

    Args:
        display: shows where the trials stand.
        tracker: gets the parameters and the metrics of every generation.
        run_name: prefix of the tracker's keys.
        settings_of: the run settings of a trial with these parameters.
        plan_of: what a trial with these settings may spend.
        known: numbers of the trials that had ended before this part of the search.
        on_end: told the number of every trial that has ended, and whether what it has done is its
            result: not if Tune has lost it.
    """

    def __init__(
        self,
        display: SearchDisplay,
        tracker: Tracker,
        run_name: str,
        settings_of: Callable[[Mapping[str, Scalar]], RunConfig],
        plan_of: Callable[[RunConfig], Spending],
        known: frozenset[int],
        on_end: Callable[[int, bool], None],
    ) -> None:
        self._display = display
        self._tracker = tracker
        self.keys = SearchKeys(run_name)
        """The tracker's, of the search and its trials."""
        self._settings_of = settings_of
        self._plan_of = plan_of
        self._known = known
        self._on_end = on_end
        self._started: set[int] = set()
        self._num_generations: dict[int, int] = {}
        """By number of the trial."""
        self.ended: dict[int, str] = {}
        """Number -> how it ended, of the trials that came to an end. Tune's count includes those
        that Ctrl-C cut."""
        self.errors: dict[int, str] = {}
        """Number -> what went wrong."""

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.__exit__()

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self._display.say(line)

    def close_open(self) -> None:
        """What still runs when the search ends was stopped with it, also for the tracker."""
        for number in self._started - self.ended.keys():
            self._tracker.close(self.keys.of(number), "KILLED")

    def end_open(self) -> None:
        """The time limit has ended the search, of which Tune tells nobody. What still runs is told
        to stop, and goes on if the search is resumed with more time."""
        for number in sorted(self._started - self.ended.keys()):
            self._tracker.close(self.keys.of(number), "FINISHED")
            self._end(number, "stopped early", "stopped by time_limit_s", keeps_result=False)

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Open the trial's run."""
        number, name = number_of(trial), f"trial {number_of(trial)}"
        self._started.add(number)
        config = self._settings_of(trial.config)
        self._num_generations[number] = config.num_generations
        method = trial.config.get(VARIANT) or method_name(config)
        self._tracker.open(
            self.keys.of(number),
            f"{name}: {method}",
            run_params(config),
            parent=self.keys.parent,
            tags={**run_tags("tune", config), "method": str(method)},
        )
        self._display.begin(number, self._plan_of(config), is_shown=number not in self._known)

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
        points = points_of(as_measured(result), self._num_generations[number])
        self._tracker.log(self.keys.of(number), points)
        if METRIC in result:
            predictions = result.get("image_predictions", 0)  # earlier versions did not say it
            self._display.move(
                number,
                int(result[RESOURCE]),
                int(predictions),
                result[METRIC],
                on=result.get(COMPARED_ON, "validation"),
                is_replayed=bool(result.get(REPLAYED)),
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
            f"{result.get(COMPARED_ON, 'validation')} {result[METRIC]:.1%} after {queries:,.0f} "
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
        self._end(number, "failed", f"failed: {error}", keeps_result=False)

    def _end(self, number: int, status: str, words: str, *, keeps_result: bool = True) -> None:
        self.ended[number] = status
        self._display.end(number)
        if number not in self._known:
            self.say(f"  trial {number}: {words}")
        self._on_end(number, keeps_result)

    # Tune stores its callbacks with the experiment, and what is live here (a terminal, a database
    # connection) cannot be stored: a placeholder is.
    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        return (Callback, ())


def number_of(trial: Trial) -> int:
    """A trial's number, from 1: Tune's tag starts with it."""
    return int(trial.experiment_tag.split("_")[0])
