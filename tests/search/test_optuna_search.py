"""The space file in Optuna's terms."""

from __future__ import annotations

import optuna
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from craft_ray.config.loading import load_space_config
from craft_ray.config.space import Choice, IntUniform, LogUniform, NoScheduler, Uniform
from craft_ray.search.optuna_search import make_scheduler, make_search, optuna_distribution
from craft_ray.tune import DEFAULT_SPACE

OWN_IMAGES = DEFAULT_SPACE.with_name("own_images.yaml")
COLLABORATIVE = DEFAULT_SPACE.with_name("collaborative.yaml")


def test_each_kind_of_distribution_has_its_counterpart() -> None:
    assert optuna_distribution(
        Uniform(kind="uniform", low=0, high=1)
    ) == optuna.distributions.FloatDistribution(0, 1)
    assert optuna_distribution(
        LogUniform(kind="log_uniform", low=0.1, high=1)
    ) == optuna.distributions.FloatDistribution(0.1, 1, log=True)
    assert optuna_distribution(
        IntUniform(kind="int_uniform", low=2, high=8, step=2)
    ) == optuna.distributions.IntDistribution(2, 8, step=2)
    assert optuna_distribution(
        Choice(kind="choice", values=("a", "b"))
    ) == optuna.distributions.CategoricalDistribution(("a", "b"))


def test_first_trials_come_first_and_all_suggestions_are_valid_settings() -> None:
    space = load_space_config(OWN_IMAGES)
    search = make_search(space)
    assert search.suggest("first") == space.first_trials[0]
    for index in range(10):
        point = search.suggest(f"t{index}")
        assert point is not None
        space.resolve(point)


def test_one_seed_gives_one_sequence_of_suggestions() -> None:
    def suggestions(*overrides: str) -> list[object]:
        search = make_search(load_space_config(DEFAULT_SPACE, overrides))
        return [search.suggest(f"t{index}") for index in range(4)]

    assert suggestions("seed=1") == suggestions("seed=1")
    assert suggestions("seed=1") != suggestions("seed=2")


def test_the_scheduler_halves_by_queries_and_never_counts_the_whole_budget_as_a_stop() -> None:
    space = load_space_config(COLLABORATIVE, ["max_queries=100"])
    scheduler = make_scheduler(space)
    assert isinstance(scheduler, ASHAScheduler)
    assert scheduler._time_attr == "candidate_queries"
    assert scheduler._max_t > 100


def test_every_trial_can_be_run_to_its_end() -> None:
    space = load_space_config(DEFAULT_SPACE, ["scheduler={kind: none}"])
    assert isinstance(space.scheduler, NoScheduler)
    assert type(make_scheduler(space)) is FIFOScheduler
