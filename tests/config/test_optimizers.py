"""Each optimizer has its own settings, with laws of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.optimizers import CmaEsConfig
from craft_ray.errors import ConfigError
from tests.optimizers.contract import KINDS

SPACES = Path(__file__).parents[2] / "tune_spaces"
PAIRED_KINDS = ("spsa", "spsa_gc", "zip", "zo_adam", "sharp_zo")


def problem_of(*words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run_config(None, words)
    (problem,) = caught.value.problems
    return problem


def test_the_default_is_cma_es() -> None:
    assert load_run_config(None).optimizer == CmaEsConfig()
    assert load_run_config(None, ["optimizer={sigma: 0.3}"]).optimizer == CmaEsConfig(sigma=0.3)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_alone_is_enough(kind: str) -> None:
    config = load_run_config(None, [f"optimizer.kind={kind}"])
    assert config.optimizer.kind == kind
    again = type(config).model_validate(config.model_dump(mode="json"))
    assert again == config


def test_an_unknown_kind_is_refused_with_all_that_there_are() -> None:
    problem = problem_of("optimizer.kind=adam")
    assert problem.startswith("optimizer.kind: ")
    assert all(kind in problem for kind in KINDS)


@pytest.mark.parametrize("kind", PAIRED_KINDS)
def test_pairs_need_an_even_population(kind: str) -> None:
    problem = problem_of(f"optimizer.kind={kind}", "optimizer.population=9")
    assert problem.startswith("optimizer.population: ")
    assert "must be even" in problem
    assert problem.endswith("but got 9")
    load_run_config(None, ["optimizer.kind=cma_es", "optimizer.population=9"])


@pytest.mark.parametrize(
    ("kind", "word", "field"),
    [
        ("cma_es", "momentum=0.9", "optimizer.momentum"),
        ("vkd_cma_es", "step_size_rule=csa", "optimizer.step_size_rule"),
        ("spsa", "momentum=0.9", "optimizer.momentum"),
        ("spsa_gc", "rank=2", "optimizer.rank"),
        ("random_search", "learning_rate=0.1", "optimizer.learning_rate"),
        ("spsa", "sigma=0", "optimizer.sigma"),
        ("spsa", "learning_rate=0", "optimizer.learning_rate"),
        ("spsa", "learning_rate_decay=1.1", "optimizer.learning_rate_decay"),
        ("spsa", "stability=-1", "optimizer.stability"),
        ("spsa_gc", "momentum=1", "optimizer.momentum"),
        ("zip", "blocks=1", "optimizer.blocks"),
        ("zip", "rank=0", "optimizer.rank"),
        ("zo_adam", "beta2=1", "optimizer.beta2"),
        ("zo_adam", "directions=random", "optimizer.directions"),
        ("sharp_zo", "warm_up_generations=0", "optimizer.warm_up_generations"),
        ("sharp_zo", "sharpness_radius=-0.1", "optimizer.sharpness_radius"),
        ("sharp_zo", "pruned_share=1", "optimizer.pruned_share"),
        ("sharp_zo", "mask_every_generations=0", "optimizer.mask_every_generations"),
    ],
)
def test_a_setting_of_another_kind_or_beyond_its_law_is_refused(
    kind: str, word: str, field: str
) -> None:
    assert problem_of(f"optimizer.kind={kind}", f"optimizer.{word}").startswith(f"{field}: ")


def test_the_rank_is_at_most_the_number_of_rows() -> None:
    problem = problem_of("optimizer.kind=zip", "optimizer.blocks=4")
    assert problem == "optimizer: rank <= blocks must hold, but got rank=5 and blocks=4"


def test_a_warm_start_that_takes_the_whole_budget_is_refused() -> None:
    words = ("optimizer.kind=sharp_zo", "optimizer.population=20", "max_queries=400")
    problem = problem_of(*words, "optimizer.warm_up_generations=20")
    assert "optimizer.warm_up_generations < max_queries // optimizer.population" in problem
    assert "but got warm_up_generations=20, max_queries=400, population=20 and batches=1" in problem
    load_run_config(None, [*words, "optimizer.warm_up_generations=19"])
    load_run_config(None, [*words, "optimizer.warm_up_generations=20", "method=head"])
    load_run_config(None, [*words, "optimizer.warm_up_generations=39", "optimizer.batches=2"])


def test_a_range_of_odd_populations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "base: {optimizer: {kind: spsa}}\n"
        "parameters: {optimizer.population: {kind: int_uniform, low: 8, high: 40, step: 1}}\n"
    )
    with pytest.raises(ConfigError, match=r"parameters.optimizer.population: .*but got 9"):
        load_space_config(path)
    path.write_text(path.read_text().replace("step: 1", "step: 2"))
    load_space_config(path)


@pytest.mark.parametrize("kind", sorted({*KINDS, "text"}))
def test_there_is_a_search_space_for_every_optimizer(kind: str) -> None:
    space = load_space_config(SPACES / "optimizers" / f"{kind}.yaml")
    assert space.base.optimizer.kind == kind
    own = type(space.base.optimizer).model_fields.keys() - {"kind"}
    assert own >= {path.removeprefix("optimizer.") for path in space.parameters}
    assert {path.split(".")[0] for path in space.parameters} == {"optimizer"}
    (first,) = space.first_trials
    assert space.resolve(first) == space.base, "starts at the settings of the base"


def test_there_is_no_other_search_space_of_an_optimizer() -> None:
    assert {path.stem for path in (SPACES / "optimizers").iterdir()} == {*KINDS, "text"}
