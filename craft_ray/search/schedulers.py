"""Ray Tune's schedulers over candidate queries.

Population-based training is not among them: it continues a trial from another one's weights, and
here a trial's record of queries, by which nothing is paid twice, belongs to its own course.
"""

from __future__ import annotations

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from craft_ray.config.sampling import AshaScheduler, MedianScheduler
from craft_ray.config.space import SpaceConfig
from craft_ray.search.objectives import METRIC, RESOURCE


def make_scheduler(space: SpaceConfig) -> TrialScheduler:
    """ASHA or the median rule over candidate queries, or none."""
    budget = space.base.max_queries
    scheduler = space.scheduler
    if isinstance(scheduler, AshaScheduler):
        return ASHAScheduler(
            time_attr=RESOURCE,
            metric=METRIC,
            mode="max",
            grace_period=min(scheduler.grace_queries, budget),
            reduction_factor=scheduler.reduction_factor,
            # Above the budget: reaching max_t would count as being stopped by the scheduler.
            max_t=budget + 1,
        )
    if isinstance(scheduler, MedianScheduler):
        return MedianStoppingRule(
            time_attr=RESOURCE,
            metric=METRIC,
            mode="max",
            grace_period=min(scheduler.grace_queries, budget),
            min_samples_required=scheduler.min_trials,
        )
    return FIFOScheduler()
