"""Ray Tune's schedulers over candidate queries.

Population-based training is not among them: it continues a trial from another one's weights, and
here a trial's record of queries, by which nothing is paid twice, belongs to its own course.
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from craft_ray.config.sampling import AshaScheduler, MedianScheduler
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs.job import REPLAYED
from craft_ray.search.objectives import METRIC, RESOURCE

# Both learn from a trial that is told again from disk, and decide nothing about it: that was done.
# One that has failed ends without metrics, and is nothing to compare with.


class _Asha(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Asynchronous successive halving."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if result.get(REPLAYED) else decision


class _Median(MedianStoppingRule):  # type: ignore[misc]
    """Where there is too little to compare with, a trial goes on: Tune's own pauses it, and a job
    in its slot cannot make room for another."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if result.get(REPLAYED):
            self._results[trial].append(result)
            word: str = TrialScheduler.CONTINUE
            return word
        decision: str = super().on_trial_result(tune_controller, trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        if METRIC in result:
            super().on_trial_complete(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Trial, time: float) -> str:
        word: str = TrialScheduler.CONTINUE
        return word


def make_scheduler(space: SpaceConfig) -> TrialScheduler:
    """ASHA or the median rule over candidate queries, or none."""
    budget = space.base.max_queries
    scheduler = space.scheduler
    if isinstance(scheduler, AshaScheduler):
        return _Asha(
            time_attr=RESOURCE,
            metric=METRIC,
            mode="max",
            grace_period=min(scheduler.grace_queries, budget),
            reduction_factor=scheduler.reduction_factor,
            # Above the budget: reaching max_t would count as being stopped by the scheduler.
            max_t=budget + 1,
        )
    if isinstance(scheduler, MedianScheduler):
        return _Median(
            time_attr=RESOURCE,
            metric=METRIC,
            mode="max",
            grace_period=min(scheduler.grace_queries, budget),
            min_samples_required=scheduler.min_trials,
        )
    return FIFOScheduler()
