"""The space file in Optuna's and Ray Tune's terms."""

from __future__ import annotations

import tempfile
from pathlib import Path

import optuna
import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.distributions import Choice, IntUniform, LogUniform, Uniform
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.planned_spending import DataSize
from craft_ray.search.optuna_search import make_search
from craft_ray.search.sampling import optuna_distribution
from craft_ray.search.schedulers import make_scheduler

SIZE = DataSize(num_train=8, num_validation=4, num_test=6, num_classes=2)

QUICKSTART = SPACES / "quickstart.yaml"
FOLDERS = tempfile.TemporaryDirectory()
OWN_IMAGES = SPACES / "own_images.yaml"
COLLABORATIVE = SPACES / "collaborative.yaml"
TWO_OBJECTIVES = ["objectives=[accuracy, queries]", "scheduler={kind: none}"]


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


def new_search(space: SpaceConfig) -> OptunaSearch:
    """In a folder of its own, which it writes the trials to."""
    return make_search(space, SIZE, Path(tempfile.mkdtemp(dir=FOLDERS.name)))


def test_first_trials_come_first_and_all_suggestions_are_valid_settings() -> None:
    space = load_space_config(OWN_IMAGES, ["max_total_queries=null"])
    search = new_search(space)
    assert search.suggest("first") == space.first_trials[0]
    for index in range(10):
        point = search.suggest(f"t{index}")
        assert point is not None
        assert space.is_valid(point)


def walk(space: SpaceConfig, num_trials: int = 7) -> list[object]:
    """Suggestions, each of which is told what its trial found."""
    search = new_search(space)
    points: list[object] = []
    for number in range(num_trials):
        point = search.suggest(f"t{number}")
        assert point is not None
        assert space.is_valid(point)
        points.append(point)
        result = {
            "val_accuracy": 1 / (1 + float(point.get("optimizer.sigma", 0))),
            "candidate_queries": 10.0 * number,
            "outcome": "finished",
            "training_iteration": 1,
        }
        search.on_trial_result(f"t{number}", result)
        search.on_trial_complete(f"t{number}", result)
    return points


@pytest.mark.parametrize("objectives", [[], TWO_OBJECTIVES], ids=["one", "two"])
@pytest.mark.parametrize(
    "sampler",
    [
        "{kind: tpe}",
        "{kind: tpe, multivariate: true}",
        "{kind: gp}",
        "{kind: cma_es}",
        "{kind: nsga3, population: 4}",
        "{kind: random}",
    ],
)
def test_every_sampler_learns_from_results_and_repeats_itself_by_its_seed(
    sampler: str, objectives: list[str]
) -> None:
    if objectives and "cma_es" in sampler:
        pytest.skip("Optuna's CMA-ES has one objective")

    def suggestions(seed: int) -> list[object]:
        words = [f"sampler={sampler}", f"seed={seed}", "max_total_queries=null", *objectives]
        return walk(load_space_config(QUICKSTART, words))

    first = suggestions(1)
    assert first == suggestions(1)
    assert first != suggestions(2)


def test_the_schedulers_compare_by_queries_and_never_count_the_whole_budget_as_a_stop() -> None:
    space = load_space_config(COLLABORATIVE, ["max_queries=100"])
    scheduler = make_scheduler(space)
    assert isinstance(scheduler, ASHAScheduler)
    assert scheduler._time_attr == "candidate_queries"
    assert scheduler._max_t > 100
    words = ["max_queries=100", "scheduler={kind: median, grace_queries: 40, min_trials: 2}"]
    median = make_scheduler(load_space_config(COLLABORATIVE, words))
    assert isinstance(median, MedianStoppingRule)
    assert median._time_attr == "candidate_queries"


def test_every_trial_can_be_run_to_its_end() -> None:
    space = load_space_config(QUICKSTART, ["scheduler={kind: none}"])
    assert type(make_scheduler(space)) is FIFOScheduler
