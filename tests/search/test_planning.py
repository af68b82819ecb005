"""Arithmetic before a search starts: what fits, and what may be spent."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from craft_ray.config.distributions import Choice, LogUniform
from craft_ray.config.loading import load_space_config
from craft_ray.config.method_names import method_name
from craft_ray.config.oracle import PoolConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.sampling import NoScheduler
from craft_ray.config.sections import RayConfig
from craft_ray.config.shipped import SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.jobs.resources import concurrent_jobs
from craft_ray.metering.planned_spending import ALONE, DataSize, SharedSize, plan_driver, plan_run
from craft_ray.pool.placement import TrialPlace
from craft_ray.search.plan import (
    ceiling_of_run,
    dearest_runs,
    plan_drivers,
    plan_search,
    plan_trial,
    probing_runs,
    shared_size,
)
from craft_ray.search.planned_bill import plan_point_bill
from craft_ray.search.sampling import suggest

SIZE = DataSize(num_train=160, num_validation=200, num_test=1000, num_classes=10)


def test_trials_are_bounded_by_the_cpus_beside_the_pool() -> None:
    config = RunConfig(
        pool=PoolConfig(cpus_per_replica=0.1),
        ray=RayConfig(cpus_per_worker=0.5, cpus_per_trial=0.2),
    )

    def fitting(wanted: int, num_cpus: float, cpus_beside: float = 0.2) -> int:
        return concurrent_jobs(config, wanted, TrialPlace({}, num_cpus, 2), cpus_beside)

    assert fitting(8, 2.0) == 2
    assert fitting(8, 4.0) == 5
    assert fitting(2, 64.0) == 2
    assert fitting(8, 2.0, cpus_beside=0.0) == 3


def test_a_search_that_could_never_start_a_trial_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"<= CPUs must hold, but got 8 \* 0.1"):
        concurrent_jobs(RunConfig(), 1, TrialPlace({}, 1.0, 8))


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


PARAMETERS: dict[str, Any] = {
    "method": {"kind": "choice", "values": ["both", "head", "prompt"]},
    "head.kind": {
        "kind": "choice",
        "values": ["residual_mlp", "probes"],
        "when": {"method": ["both", "head"]},
    },
    "optimizer.population": {
        "kind": "int_uniform",
        "low": 20,
        "high": 47,
        "when": {"method": ["both", "prompt"]},
    },
    "optimizer.batches": {
        "kind": "int_uniform",
        "low": 1,
        "high": 7,
        "when": {"method": ["both", "prompt"]},
    },
    "head.contexts": {"kind": "int_uniform", "low": 0, "high": 6, "when": {"head.kind": "probes"}},
    "head.names": {
        "kind": "int_uniform",
        "low": 0,
        "high": 900,
        "when": {"head.kind": "probes"},
    },
}
WITH_FEATURES = SpaceConfig.model_validate(
    {
        "name": "with_features",
        "base": {
            "method": "head",
            "max_queries": 50,
            "data": {"views": 4},
            "oracle": {"features": True},
        },
        "parameters": {
            "head.kind": {"kind": "choice", "values": ["features", "linear", "probes"]},
            "head.names": {
                "kind": "int_uniform",
                "low": 0,
                "high": 900,
                "when": {"head.kind": "probes"},
            },
            "head.folds": {"kind": "int_uniform", "low": 2, "high": 6},
        },
        "first_trials": [{"head.kind": "features", "head.folds": 5}],
        "trials": 4,
    }
)
WIDE = SpaceConfig.model_validate(
    {"name": "s", "base": {"max_queries": 350, "data": {"views": 4}}, "parameters": PARAMETERS}
)
DISCRETE = SpaceConfig.model_validate(
    {
        "name": "s",
        "base": {"max_queries": 100},
        "parameters": {"optimizer.population": {"kind": "int_uniform", "low": 30, "high": 60}},
    }
)
ESTIMATES = SpaceConfig.model_validate(
    {
        "name": "warm-up",
        "base": {"max_queries": 400},
        "parameters": {
            "optimizer.kind": {"kind": "choice", "values": ["cma_es", "sharp_zo"]},
            "optimizer.population": {"kind": "int_uniform", "low": 10, "high": 30, "step": 2},
            "optimizer.warm_up_generations": {
                "kind": "int_uniform",
                "low": 5,
                "high": 10,
                "when": {"optimizer.kind": "sharp_zo"},
            },
        },
    }
)
RESAMPLED = SpaceConfig.model_validate(
    {
        "name": "deployed",
        "base": {"max_queries": 400, "fidelity": {"deployed_prompt": "resampled_mean"}},
        "parameters": {
            "optimizer.kind": {"kind": "choice", "values": ["cma_es", "spsa"]},
            "optimizer.population": {"kind": "choice", "values": [10, 20]},
            "fidelity.deployed_prompt": {
                "kind": "choice",
                "values": ["mean", "best"],
                "when": {"optimizer.kind": "spsa"},
            },
        },
    }
)
VARIANT_WITH_SEARCHED_LAW = SpaceConfig.model_validate(
    {
        "name": "variants",
        "base": {"max_queries": 400, "data": {"views": 4}},
        "variants": {"craft": {}, "sharp": {"optimizer": {"kind": "sharp_zo"}}},
        "parameters": {
            "optimizer.warm_up_generations": {
                "kind": "int_uniform",
                "low": 5,
                "high": 10,
                "when": {"variant": "sharp"},
            },
            "optimizer.batches": {"kind": "choice", "values": [1, 4]},
            "optimizer.population": {
                "kind": "int_uniform",
                "low": 10,
                "high": 36,
                "step": 2,
                "when": {"optimizer.kind": ["cma_es", "sharp_zo"]},
            },
        },
    }
)
HUGE = SpaceConfig.model_validate(
    {
        "name": "huge",
        "base": {"max_queries": 2**31},
        "parameters": {
            "head.hidden": {"kind": "int_uniform", "low": 1, "high": 2**31},
            "optimizer.population": {"kind": "int_uniform", "low": 2**20, "high": 2**31},
        },
    }
)
DEFAULT = load_space_config(SPACES / "quickstart.yaml")
OWN = load_space_config(SPACES / "own_images.yaml")


PROBES = load_space_config(SPACES / "probes.yaml")
FRONTIER = load_space_config(SPACES / "frontier.yaml")
EVERY = [
    WIDE,
    DISCRETE,
    DEFAULT,
    OWN,
    PROBES,
    FRONTIER,
    ESTIMATES,
    RESAMPLED,
    VARIANT_WITH_SEARCHED_LAW,
    WITH_FEATURES,
]


@pytest.mark.parametrize("space", [*EVERY, HUGE], ids=lambda each: each.name)
def test_no_trial_that_may_be_sampled_spends_more_than_is_planned(space: SpaceConfig) -> None:
    trial_plan, driver_plan = plan_trial(space, SIZE), plan_drivers(space, SIZE)
    shared = shared_size(space)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**31))
    def check(seed: int) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        point = suggest(space, study.ask())
        assume(space.is_valid(point))
        config = space.resolve(point)
        exact, ceiling = plan_run(config, SIZE, shared), ceiling_of_run(config, SIZE, shared)
        for kind, amount in asdict(exact).items():
            assert amount <= getattr(trial_plan, kind), (kind, point)
            assert amount <= getattr(ceiling, kind), (kind, point)
        for kind, amount in asdict(plan_driver(config, SIZE)).items():
            assert amount <= getattr(driver_plan, kind), (kind, point)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check()


@pytest.mark.parametrize("shared", [SharedSize(), SharedSize(1, 900)])
def test_images_without_labels_are_below_the_ceiling_of_a_run(shared: SharedSize) -> None:
    size = replace(SIZE, num_unlabelled=480)
    for space in (PROBES, WITH_FEATURES):
        for config in dearest_runs(space):
            if config.method != "head":
                continue
            exact, ceiling = plan_run(config, size, shared), ceiling_of_run(config, size, shared)
            assert exact.head_predictions > plan_run(config, SIZE, shared).head_predictions
            for kind, amount in asdict(exact).items():
                assert amount <= getattr(ceiling, kind), (kind, config)


def test_heads_on_features_are_searched_beside_others_and_share_no_names_with_them() -> None:
    features = WITH_FEATURES.resolve({"head.kind": "features", "head.folds": 5})
    assert method_name(features) == "head on features"
    plan = plan_run(features, SIZE, shared_size(WITH_FEATURES))
    assert plan.candidate_queries == 1
    assert plan.text_encodes == SIZE.num_classes
    assert "features" not in {run.head.kind for run in probing_runs(WITH_FEATURES)}
    only = WITH_FEATURES.model_copy(update={"parameters": {}, "base": features})
    assert shared_size(only) == ALONE


def test_names_are_not_searched_for_a_head_on_features() -> None:
    document = WITH_FEATURES.model_dump(mode="json")
    del document["parameters"]["head.names"]["when"]
    document["first_trials"] = []
    with pytest.raises(ValidationError, match=r"head\.names: must have an effect wherever"):
        SpaceConfig.model_validate(document)


def test_a_population_between_the_ends_may_spend_more_than_both() -> None:
    assert plan_trial(DISCRETE, SIZE).candidate_queries == 100  # two times 50, four times 25


def test_first_trials_are_planned_as_they_are() -> None:
    space = load_space_config(SPACES / "quickstart.yaml", ["trials=1"])
    probes = space.resolve({"variant": "probes"})
    plan = plan_search(space, SIZE)
    assert plan.candidate_queries == 1
    assert plan == plan_run(probes, SIZE) + plan_drivers(space, SIZE)


def test_trials_share_their_contexts_unless_each_has_a_scale_of_its_own() -> None:
    assert shared_size(WIDE) == SharedSize(num_contexts=7, num_names=900)
    assert shared_size(PROBES) == SharedSize(num_contexts=1, num_names=900)
    assert shared_size(DEFAULT) == SharedSize(num_contexts=1, num_names=500)
    assert shared_size(DISCRETE) == ALONE
    # The searched contexts of this one are no trial's but their own.
    assert shared_size(load_space_config(SPACES / "fixed_classes.yaml")) == ALONE


def test_the_first_trial_is_planned_with_the_text_of_the_most_names() -> None:
    space = load_space_config(SPACES / "probes.yaml", ["trials=1"])
    own = plan_run(space.resolve(space.first_trials[0]), SIZE)
    plan = plan_search(space, SIZE)
    more = plan.text_encodes - (own + plan_drivers(space, SIZE)).text_encodes
    assert more == 6 * (900 - 500)  # plain images, four views, validation
    assert plan.candidate_queries == own.candidate_queries


def test_the_bill_of_a_trial_has_the_names_that_it_asks_for_others() -> None:
    document: dict[str, Any] = {
        "name": "bill",
        "base": {
            "method": "head",
            "data": {"views": 0},
            "head": {"kind": "linear"},
            "oracle": {
                "kind": "http",
                "dialect": "hf_zero_shot",
                "url": "http://h",
                "options": {"sigmoid": True},
            },
        },
        "parameters": {},
        "variants": {"linear": {}, "probes": {"head": {"kind": "probes", "names": 90}}},
    }
    asked = SIZE.num_train + SIZE.num_validation

    def pairs() -> int:
        space = SpaceConfig.model_validate(document)
        return plan_point_bill(space, SIZE, {"variant": "linear"}).pairs

    assert pairs() == asked * 100
    document["base"]["oracle"]["options"] = {}  # a softmax, of which nothing is shared
    assert pairs() == asked * 10
