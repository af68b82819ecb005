"""Arithmetic before a search starts: what fits, and what may be spent."""

from __future__ import annotations

import pytest

from craft_ray.config.distributions import Choice, LogUniform
from craft_ray.config.oracle import PoolConfig
from craft_ray.config.run import RayConfig, RunConfig
from craft_ray.config.sampling import NoScheduler
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.jobs.resources import concurrent_trials
from craft_ray.metering.planned_spending import DataSize, plan_driver, plan_run
from craft_ray.search.plan import plan_search

SIZE = DataSize(num_train=160, num_validation=200, num_test=1000, num_classes=10)


def test_trials_are_bounded_by_the_cpus_beside_the_pool() -> None:
    config = RunConfig(
        pool=PoolConfig(cpus_per_replica=0.1),
        ray=RayConfig(cpus_per_worker=0.5, cpus_per_trial=0.2),
    )
    assert concurrent_trials(config, wanted=8, replicas=2, num_cpus=2.0) == 2
    assert concurrent_trials(config, wanted=8, replicas=2, num_cpus=4.0) == 5
    assert concurrent_trials(config, wanted=2, replicas=2, num_cpus=64.0) == 2


def test_a_search_that_could_never_start_a_trial_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"<= CPUs must hold, but got 8 \* 0.1"):
        concurrent_trials(RunConfig(), wanted=1, replicas=8, num_cpus=1.0)


def test_the_plan_is_the_worst_case_over_populations() -> None:
    space = SpaceConfig(
        name="s",
        base=RunConfig(max_queries=400),
        parameters={"optimizer.population": Choice(kind="choice", values=(20, 40))},
        trials=3,
        scheduler=NoScheduler(),
    )
    plan = plan_search(space, SIZE)
    small = plan_run(space.resolve({"optimizer.population": 20}), SIZE)
    driver = plan_driver(space.base, SIZE)
    assert plan.candidate_queries == 3 * 400
    assert plan.head_predictions == 3 * small.head_predictions == 3 * 20 * 160
    assert plan.evaluation_predictions == (
        3 * small.evaluation_predictions + driver.evaluation_predictions
    )


def test_parameters_that_do_not_change_spending_do_not_change_the_plan() -> None:
    learning_rate = LogUniform(kind="log_uniform", low=1e-4, high=1e-2)
    space = SpaceConfig(
        name="s",
        base=RunConfig(max_queries=400),
        parameters={"head.learning_rate": learning_rate},
        trials=1,
    )
    assert plan_search(space, SIZE) == plan_run(space.base, SIZE) + plan_driver(space.base, SIZE)


def test_a_budget_of_the_search_bounds_the_plan() -> None:
    learning_rate = LogUniform(kind="log_uniform", low=1e-4, high=1e-2)
    space = SpaceConfig(
        name="s",
        base=RunConfig(max_queries=400),
        parameters={"head.learning_rate": learning_rate},
        trials=5,
        max_total_queries=900,
    )
    plan = plan_search(space, SIZE)
    assert plan.candidate_queries == 900
    assert plan.search_predictions == 900 * SIZE.num_train
    roomy = space.model_copy(update={"max_total_queries": 2000})
    assert plan_search(roomy, SIZE).candidate_queries == 2000 == 5 * 400
