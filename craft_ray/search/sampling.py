"""From a search space to Optuna: distributions, samplers, trials to run and trials that ran."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from craft_ray.config.distributions import Choice, Distribution, IntUniform, LogUniform, Scalar
from craft_ray.config.sampling import (
    CmaEsSampler,
    GpSampler,
    Nsga3Sampler,
    RandomSampler,
)
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.search.objectives import MEASURES

EARLIER = "earlier search"
"""Mark of a trial that another search has run: the sampler knows it, this search may run it."""
MAX_DRAWS = 5
"""Of one trial by the sampler, until its combination is one that a trial can have, and is new."""
MAX_RANDOM_DRAWS = 200
"""After them, by nobody's preference."""


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """The same distribution in Optuna's terms."""
    if isinstance(distribution, Choice):
        return CategoricalDistribution(distribution.values)
    if isinstance(distribution, IntUniform):
        # Optuna wants the end to be one of the steps.
        return IntDistribution(distribution.low, distribution.values[-1], step=distribution.step)
    is_log = isinstance(distribution, LogUniform)
    return FloatDistribution(distribution.low, distribution.high, log=is_log)


def directions_of(space: SpaceConfig) -> list[str]:
    """Optuna's word for each objective."""
    words = {"max": "maximize", "min": "minimize"}
    return [words[MEASURES[objective].mode] for objective in space.objectives]


def suggest(space: SpaceConfig, trial: optuna.Trial) -> dict[str, Scalar]:
    """Sample the parameters that apply, one after another, each from its one distribution.

    Returns:
        Parameter -> value; their combination may break a law of the run settings.
    """
    tree = space.tree
    values: dict[str, Scalar] = {}
    for path in tree.order:
        if tree.applies(path, values):
            values[path] = _suggest(trial, path, tree.parameters[path])
    return values


def _suggest(trial: optuna.Trial, path: str, distribution: Distribution) -> Scalar:
    if isinstance(distribution, Choice):
        choice = trial.suggest_categorical(path, distribution.values)
        assert choice is not None  # it may be, for Optuna
        return choice
    if isinstance(distribution, IntUniform):
        values = distribution.values
        return trial.suggest_int(path, values[0], values[-1], step=distribution.step)
    is_log = isinstance(distribution, LogUniform)
    return trial.suggest_float(path, distribution.low, distribution.high, log=is_log)


def frozen_trial(
    space: SpaceConfig,
    params: Mapping[str, Scalar],
    values: Sequence[float] | None,
    state: TrialState = TrialState.COMPLETE,
    intermediate_values: Mapping[int, float] | None = None,
    is_earlier: bool = False,
) -> FrozenTrial:
    """A trial that has ended, as `suggest` would have made it, for a study to be told.

    Args:
        space: of the search.
        params: of exactly the parameters that apply.
        values: of the objectives, in their order; None unless it is complete.
        state: how it ended.
        intermediate_values: step -> value that was reported.
        is_earlier: whether it was another search's.

    Raises:
        ValueError: no trial of this space has these parameters.
    """
    if (problem := space.problem_of(params)) is not None:
        raise ValueError(problem)
    parameters = space.tree.parameters
    return optuna.trial.create_trial(
        state=state,
        params=dict(params),
        distributions={path: optuna_distribution(parameters[path]) for path in params},
        values=values,
        intermediate_values=dict(intermediate_values or {}),
        user_attrs={EARLIER: True} if is_earlier else None,
    )


def ask(study: optuna.Study, space: SpaceConfig) -> optuna.Trial:
    """The next trial to run, its parameters in `params`.

    A combination that breaks a law of the run settings is never run: the sampler is told that it is
    a bad one (pruned) and another is drawn. What has been tried already is drawn anew as well, as
    far as there is anything else; of that the sampler is told nothing. A sampler that finds no
    other combination gets one that is drawn at random.

    Raises:
        ConfigError: no combination that was drawn is valid.
    """
    for _ in range(MAX_DRAWS):
        trial = study.ask()
        params = suggest(space, trial)
        if not space.is_valid(params):
            study.tell(trial, state=TrialState.PRUNED)
        elif _is_tried(study, params, besides=trial.number):
            study.tell(trial, state=TrialState.FAIL)
        else:
            return trial
    study.enqueue_trial(_random_params(study, space))
    trial = study.ask()
    suggest(space, trial)
    return trial


def _random_params(study: optuna.Study, space: SpaceConfig) -> dict[str, Scalar]:
    seed = np.random.SeedSequence([space.base.seed, len(study.get_trials(deepcopy=False))])
    sampler = optuna.samplers.RandomSampler(seed=int(seed.generate_state(1)[0]))
    source = optuna.create_study(sampler=sampler)
    valid = None
    for _ in range(MAX_RANDOM_DRAWS):
        params = suggest(space, source.ask())
        problem = space.problem_of(params)
        if problem is None:
            valid = params
            if not _is_tried(study, params):
                break
    if valid is None:
        raise ConfigError(
            space.name,
            [
                "parameters: must have combinations that are valid together, but none of "
                f"{MAX_RANDOM_DRAWS} that were drawn is; the last one: {problem}"
            ],
        )
    return valid


def _is_tried(study: optuna.Study, params: Mapping[str, Scalar], besides: int = -1) -> bool:
    """Whether another trial of this search has ended, or runs, with the same parameters."""
    states = (TrialState.COMPLETE, TrialState.RUNNING)
    return any(
        trial.params == params and trial.number != besides and EARLIER not in trial.user_attrs
        for trial in study.get_trials(deepcopy=False, states=states)
    )


def make_sampler(space: SpaceConfig, seed: int) -> BaseSampler:
    """Optuna's sampler of the space's name for it.

    Samplers that model all parameters together leave out those that do not always apply. TPE then
    groups the parameters that apply together; the Gaussian process and CMA-ES leave the others, and
    CMA-ES also choices, to a TPE beside them.
    """
    sampler, is_conditional = space.sampler, space.tree.is_conditional
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if isinstance(sampler, RandomSampler):
            return optuna.samplers.RandomSampler(seed=seed)
        if isinstance(sampler, Nsga3Sampler):
            return optuna.samplers.NSGAIIISampler(population_size=sampler.population, seed=seed)
        if isinstance(sampler, GpSampler | CmaEsSampler):
            beside = optuna.samplers.TPESampler(
                n_startup_trials=sampler.startup_trials, multivariate=False, seed=seed
            )
            kind = (
                optuna.samplers.GPSampler
                if isinstance(sampler, GpSampler)
                else optuna.samplers.CmaEsSampler
            )
            return kind(
                n_startup_trials=sampler.startup_trials,
                independent_sampler=beside,
                warn_independent_sampling=False,
                seed=seed,
            )
        return optuna.samplers.TPESampler(
            n_startup_trials=sampler.startup_trials,
            multivariate=sampler.multivariate,
            group=sampler.multivariate and is_conditional,
            seed=seed,
        )
