"""From a space file to Ray Tune's Optuna search and scheduler."""

from __future__ import annotations

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.space import (
    AshaScheduler,
    Choice,
    Distribution,
    IntUniform,
    LogUniform,
    SpaceConfig,
    TpeSampler,
)

METRIC = "val_accuracy"
RESOURCE = "candidate_queries"


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """The same distribution in Optuna's terms."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    if isinstance(distribution, IntUniform):
        return IntDistribution(distribution.low, distribution.high, step=distribution.step)
    is_log = isinstance(distribution, LogUniform)
    return FloatDistribution(distribution.low, distribution.high, log=is_log)


def make_search(space: SpaceConfig) -> OptunaSearch:
    """Optuna's sampler, seeded by the base run's seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = space.base.seed
    sampler: optuna.samplers.BaseSampler
    if isinstance(space.sampler, TpeSampler):
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=space.sampler.startup_trials, seed=seed
        )
    else:
        sampler = optuna.samplers.RandomSampler(seed=seed)
    return OptunaSearch(
        space={path: optuna_distribution(d) for path, d in space.parameters.items()},
        metric=METRIC,
        mode="max",
        points_to_evaluate=[dict(point) for point in space.first_trials] or None,
        sampler=sampler,
    )


def make_scheduler(space: SpaceConfig) -> TrialScheduler:
    """ASHA over candidate queries, or none."""
    if not isinstance(space.scheduler, AshaScheduler):
        return FIFOScheduler()
    budget = space.base.max_queries
    return ASHAScheduler(
        time_attr=RESOURCE,
        metric=METRIC,
        mode="max",
        grace_period=min(space.scheduler.grace_queries, budget),
        reduction_factor=space.scheduler.reduction_factor,
        # Above the budget: reaching max_t would count as being stopped by the scheduler.
        max_t=budget + 1,
    )
