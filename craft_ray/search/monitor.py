"""Watches a search from the driver: a line for each trial, bars in a terminal, and the tracker."""

from __future__ import annotations

from typing import Any

from ray.tune import Tuner
from ray.tune.experiment import Trial
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn

from craft_ray.jobs.live_callback import LiveCallback
from craft_ray.search.objectives import METRIC, RESOURCE
from craft_ray.search.results import number_of, status_of
from craft_ray.tracking import Tracker

PARENT_KEY = "search"


class SearchMonitor(LiveCallback):
    """Tune's callback.

    Args:
        console: where to print.
        tracker: gets the parameters and the metrics of every generation.
        run_name: prefix of the tracker's keys.
        max_queries: budget of a trial, for the bars.
    """

    def __init__(self, console: Console, tracker: Tracker, run_name: str, max_queries: int) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} queries"),
            TextColumn("[dim]{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self._tracker = tracker
        self._run_name = run_name
        self._max_queries = max_queries
        self._bars: dict[str, TaskID] = {}
        self._ended: set[str] = set()
        self.failed: list[int] = []
        """Numbers of the trials that ended with an error."""
        self._saw_first_step = False

    @property
    def parent_key(self) -> str:
        """The tracker's key of the search itself."""
        return f"{self._run_name}/{PARENT_KEY}"

    @property
    def num_ended(self) -> int:
        """Trials that came to an end of their own. Tune's count includes those that Ctrl-C cut."""
        return len(self._ended)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Take over what had ended before the search was resumed."""
        if not self._saw_first_step:
            self._saw_first_step = True
            self._ended |= {trial.trial_id for trial in trials if trial.is_finished()}

    def _key(self, trial: Trial) -> str:
        return f"{self._run_name}/{trial.trial_id}"

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Open the trial's run."""
        name = f"trial {number_of(trial.experiment_tag)}"
        params = {"trial_id": trial.trial_id, **trial.config}
        self._tracker.open(self._key(trial), name, params, parent=self.parent_key)
        if trial.trial_id not in self._bars:
            self._bars[trial.trial_id] = self._progress.add_task(
                name, total=self._max_queries, state="starting"
            )

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Pass the generations on."""
        self._tracker.log(self._key(trial), result.get("points", []))
        if METRIC in result:
            self._progress.update(
                self._bars[trial.trial_id],
                completed=result[RESOURCE],
                state=f"validation {result[METRIC]:.1%}",
            )

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the trial's run."""
        self._tracker.close(self._key(trial), "FINISHED")
        result = trial.last_result
        status = status_of(result.get("outcome", "failed"))
        number = number_of(trial.experiment_tag)
        queries = result.get(RESOURCE, 0)
        self.say(
            f"  trial {number}: validation {result.get(METRIC, 0.0):.1%} after "
            f"{queries:,.0f} {'query' if queries == 1 else 'queries'}, {status}"
        )
        self._end(trial)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Say that the trial is started again."""
        number = number_of(trial.experiment_tag)
        self.say(f"  trial {number}: was lost, and goes on from its last checkpoint")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Close the trial's run as failed."""
        self._tracker.close(self._key(trial), "FAILED")
        number = number_of(trial.experiment_tag)
        self.failed.append(number)
        self.say(f"  trial {number}: failed, see {trial.error_file}")
        self._end(trial)

    def _end(self, trial: Trial) -> None:
        self._ended.add(trial.trial_id)
        if (bar := self._bars.pop(trial.trial_id, None)) is not None:
            self._progress.remove_task(bar)

    def attach_to(self, tuner: Tuner) -> None:
        """Take the place of the callback that a restored experiment has."""
        # Tune offers no public way to give a restored Tuner new callbacks.
        tuner._local_tuner._run_config.callbacks = [self]
