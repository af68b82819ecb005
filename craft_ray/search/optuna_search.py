"""From a space file to Optuna's terms, and to Ray Tune's search with them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.sampling import (
    CmaEsSampler,
    GpSampler,
    Nsga3Sampler,
    RandomSampler,
    Sampler,
)
from craft_ray.config.space import Choice, Distribution, IntUniform, LogUniform, SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.search.budgeted_search import BudgetedSearch, SearchBudget
from craft_ray.search.objectives import MEASURES
from craft_ray.search.trials_on_disk import Params


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """The same distribution in Optuna's terms."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    if isinstance(distribution, IntUniform):
        return IntDistribution(distribution.low, distribution.high, step=distribution.step)
    is_log = isinstance(distribution, LogUniform)
    return FloatDistribution(distribution.low, distribution.high, log=is_log)


def optuna_space(space: SpaceConfig) -> dict[str, BaseDistribution]:
    """All parameters of a search."""
    return {path: optuna_distribution(each) for path, each in space.parameters.items()}


def directions_of(space: SpaceConfig) -> list[str]:
    """Optuna's word for each objective."""
    words = {"max": "maximize", "min": "minimize"}
    return [words[MEASURES[objective].mode] for objective in space.objectives]


def make_sampler(sampler: Sampler, seed: int) -> BaseSampler:
    """Optuna's sampler of that name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(sampler, RandomSampler):
            return optuna.samplers.RandomSampler(seed=seed)
        if isinstance(sampler, GpSampler):
            return optuna.samplers.GPSampler(n_startup_trials=sampler.startup_trials, seed=seed)
        if isinstance(sampler, CmaEsSampler):
            return optuna.samplers.CmaEsSampler(
                n_startup_trials=sampler.startup_trials,
                warn_independent_sampling=False,  # of choices
                seed=seed,
            )
        if isinstance(sampler, Nsga3Sampler):
            return optuna.samplers.NSGAIIISampler(population_size=sampler.population, seed=seed)
        return optuna.samplers.TPESampler(
            n_startup_trials=sampler.startup_trials,
            multivariate=sampler.multivariate,
            seed=seed,
        )


def budget_of(space: SpaceConfig) -> SearchBudget | None:
    """Of all trials together; None: they have only their own."""
    if space.max_total_queries is None:
        return None
    return SearchBudget(space.max_total_queries, space.base.max_queries)


def make_search(
    space: SpaceConfig,
    folder: Place,
    begun: Sequence[Params] = (),
    earlier: Sequence[FrozenTrial] = (),
) -> OptunaSearch:
    """Optuna's study, seeded by the base run's seed.

    Args:
        space: its parameters, sampler, objectives and budget.
        folder: of the search.
        begun: what the trials of an earlier part of this search try; they are suggested first.
        earlier: trials of other searches, see `warm_start`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measures = [MEASURES[objective] for objective in space.objectives]
    is_single = len(measures) == 1
    points = [*begun, *space.first_trials[len(begun) :]]
    search = BudgetedSearch(
        budget=budget_of(space),
        folder=folder,
        space=optuna_space(space),
        # Ray takes a list for several objectives, each with its own mode.
        metric=measures[0].metric if is_single else [measure.metric for measure in measures],
        mode=measures[0].mode if is_single else [measure.mode for measure in measures],
        points_to_evaluate=[dict(point) for point in points] or None,
        # A sampler of the same seed would draw again what the first part has drawn.
        sampler=make_sampler(space.sampler, space.base.seed + len(begun)),
    )
    search.know(earlier)
    return search
