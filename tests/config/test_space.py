"""Search spaces: every value that a trial may be given is checked before the first trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from craft_ray.config.distributions import Choice, LogUniform
from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.sampling import TpeSampler
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from tests.support.heads import mlp_of

RATE = {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}
SPACES = Path(__file__).parents[2] / "tune_spaces"
SHIPPED = [path for path in sorted(SPACES.rglob("*.yaml")) if path.parent.name != "reproduce"]
"""Grids of reproductions are tested with them."""


def load(folder: Path, document: dict[str, Any], *overrides: str) -> SpaceConfig:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_space_config(path, overrides)


def space_of(folder: Path, **parameters: Any) -> SpaceConfig:
    named = {path.replace("__", "."): values for path, values in parameters.items()}
    return load(folder, {"parameters": named})


def refusal(folder: Path, document: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, document, *overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_is_valid(path: Path) -> None:
    if "parameters" not in yaml.safe_load(path.read_text(encoding="utf-8")):
        load_run_config(path)
        return
    space = load_space_config(path)
    assert space.name == path.stem
    assert space.trials >= 1


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_stored_space_makes_the_same_trials(path: Path) -> None:
    if "parameters" not in yaml.safe_load(path.read_text(encoding="utf-8")):
        return
    space = load_space_config(path)
    stored = SpaceConfig.model_validate(json.loads(json.dumps(space.model_dump(mode="json"))))
    assert stored == space
    for branch in space.tree.branches():
        assert stored.resolve(branch) == space.resolve(branch)
    for point in space.first_trials:
        assert stored.resolve(point) == space.resolve(point)


def test_there_are_shipped_files() -> None:
    assert "quickstart.yaml" in {path.name for path in SHIPPED}


def test_a_space_takes_its_name_from_its_file_and_its_defaults_from_the_run(tmp_path: Path) -> None:
    space = load(tmp_path, {"parameters": {"head.learning_rate": RATE}})
    assert space.name == "space"
    assert space.base == load_run_config(None)
    assert isinstance(space.sampler, TpeSampler)


def test_numbers_that_yaml_reads_as_words_are_repaired(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("parameters: {optimizer.sigma: {kind: log_uniform, low: 1e-3, high: 1e0}}")
    distribution = load_space_config(path).parameters["optimizer.sigma"]
    assert isinstance(distribution, LogUniform)
    assert (distribution.low, distribution.high) == (1e-3, 1.0)


def test_overrides_reach_the_space_and_its_base(tmp_path: Path) -> None:
    document = {"base": {"seed": 5}, "parameters": {"head.learning_rate": RATE}}
    words = ["trials=3", "data.shots=4", "base.max_queries=80", "name=mine", "seed=6"]
    space = load(tmp_path, document, *words)
    assert (space.trials, space.base.data.shots, space.base.max_queries) == (3, 4, 80)
    assert (space.name, space.base.name, space.base.seed) == ("space", "mine", 6)


def test_the_base_may_be_a_file_beside_the_space(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 9\nfidelity: reference\n")
    document = {"base": "base.yaml", "parameters": {"head.learning_rate": RATE}}
    space = load(tmp_path, document, "fidelity.selection=best_validation")
    assert space.base.seed == 9
    assert space.base.fidelity.head_init == "default"
    assert space.base.fidelity.selection == "best_validation"
    assert "cannot be read" in refusal(tmp_path, {**document, "base": "absent.yaml"})
    assert "base must be a section" in refusal(tmp_path, {**document, "base": 5}, "seed=1")


def test_a_trial_is_the_base_with_its_values(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        {"base": {"seed": 5, "fidelity": "reference"}, "parameters": {"head.learning_rate": RATE}},
    )
    trial = space.resolve({"head.learning_rate": 2e-3})
    assert mlp_of(trial).learning_rate == 2e-3
    assert trial.model_copy(update={"head": space.base.head}) == space.base
    assert mlp_of(space.base).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        ({"kind": "log_uniform", "low": 0, "high": 1}, "low.*greater than 0"),
        ({"kind": "log_uniform", "low": 1, "high": 0.1}, "low < high must hold"),
        ({"kind": "uniform", "low": 1, "high": 1}, "low < high must hold"),
        ({"kind": "uniform", "low": 0.1, "high": float("inf")}, "high.*finite"),
        ({"kind": "int_uniform", "low": 4, "high": 8, "step": 0}, "step"),
        ({"kind": "choice", "values": [1]}, "values"),
        ({"kind": "normal", "mean": 0}, "normal"),
        ({"kind": "uniform", "low": 0.1, "high": 1, "hihg": 2}, "hihg: is not a known setting"),
        ({"low": 1, "high": 2}, "kind"),
    ],
)
def test_a_range_that_is_none_is_refused(
    tmp_path: Path, distribution: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"parameters.optimizer.sigma.*{message}"):
        space_of(tmp_path, optimizer__sigma=distribution)


@pytest.mark.parametrize(
    ("path", "distribution", "message"),
    [
        ("optimizer.population", {"kind": "int_uniform", "low": 2, "high": 8}, "but got 2"),
        ("optimizer.population", {"kind": "choice", "values": [8, 9000]}, "max_queries >= "),
        ("optimizer.population", {"kind": "choice", "values": [8, 8.5]}, "but got 8.5"),
        ("optimizer.population", {"kind": "uniform", "low": 8, "high": 16}, "valid integer"),
        ("head.hidden", {"kind": "log_uniform", "low": 8, "high": 64}, "valid integer"),
        ("loss.head_consistency_share", {"kind": "uniform", "low": 0.5, "high": 2}, "but got 2.0"),
        ("method", {"kind": "choice", "values": ["both", "neither"]}, "but got 'neither'"),
    ],
)
def test_a_corner_that_breaks_a_law_of_the_run_is_refused(
    tmp_path: Path, path: str, distribution: dict[str, Any], message: str
) -> None:
    text = refusal(tmp_path, {"parameters": {path: distribution}})
    assert f"parameters.{path}: " in text
    assert message in text


def test_values_that_are_valid_alone_but_not_together_are_refused(tmp_path: Path) -> None:
    parameters = {
        "fidelity.deployed_prompt": {"kind": "choice", "values": ["mean", "resampled_mean"]},
        "optimizer.step_size_rule": {"kind": "choice", "values": ["csa", "tpa"]},
    }
    text = refusal(tmp_path, {"parameters": parameters})
    assert "fidelity.deployed_prompt and optimizer.step_size_rule" in text
    assert "needs optimizer.step_size_rule csa" in text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("head.learning_rat", "is not a setting of a run"),
        ("head", "is not a setting of a run"),
        ("head.learning_rate.x", "is not a setting of a run"),
        ("seed", "must belong to one of"),
        ("data.shots", "all trials share one pool"),
        ("oracle.precision", "must belong to one of"),
        ("fidelity.preset", "cannot be searched: search its switches instead"),
        ("fidelity.fitness_images", "cannot be searched: all trials share one set of images"),
        ("prompt.start", "cannot be searched: all trials start from the same prompt"),
        ("", "must belong to one of"),
    ],
)
def test_a_parameter_that_cannot_be_searched_is_named(
    tmp_path: Path, path: str, message: str
) -> None:
    text = refusal(tmp_path, {"parameters": {path: RATE}})
    assert f"parameters.{path}: " in text
    assert message in text


def test_a_space_without_parameters_is_refused(tmp_path: Path) -> None:
    assert "parameters" in refusal(tmp_path, {"parameters": {}})
    assert "parameters" in refusal(tmp_path, {})


def test_first_trials_within_the_ranges_are_taken(tmp_path: Path) -> None:
    parameters = {
        "head.learning_rate": RATE,
        "optimizer.population": {"kind": "int_uniform", "low": 8, "high": 40, "step": 8},
        "method": {"kind": "choice", "values": ["both", "head"]},
    }
    point = {"head.learning_rate": 1e-4, "optimizer.population": 16, "method": "head"}
    space = load(tmp_path, {"parameters": parameters, "first_trials": [point]})
    assert space.first_trials == (point,)
    assert isinstance(space.parameters["method"], Choice)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"head.learning_rate": 0.5, "optimizer.population": 16}, "must lie in .* but got 0.5"),
        ({"head.learning_rate": 1e-3, "optimizer.population": 17}, "must lie in .* but got 17"),
        ({"head.learning_rate": 1e-3, "optimizer.population": 48}, "must lie in .* but got 48"),
        ({"head.learning_rate": True, "optimizer.population": 16}, "must lie in .* but got True"),
        ({"head.learning_rate": 1e-3}, r"misses \['optimizer.population'\]"),
        ({"head.learning_rate": 1e-3, "optimizer.population": 8, "seed": 1}, r"adds \['seed'\]"),
    ],
)
def test_first_trials_outside_the_ranges_are_refused(
    tmp_path: Path, point: dict[str, Any], message: str
) -> None:
    parameters = {
        "head.learning_rate": RATE,
        "optimizer.population": {"kind": "int_uniform", "low": 8, "high": 40, "step": 8},
    }
    good = {"head.learning_rate": 1e-3, "optimizer.population": 8}
    document = {"parameters": parameters, "first_trials": [good, point]}
    with pytest.raises(ConfigError, match=rf"first_trials.1.*{message}"):
        load(tmp_path, document)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"objectives": ["queries"]}, "objectives: must be different ones with accuracy among"),
        ({"objectives": ["accuracy", "accuracy"]}, "but got accuracy, accuracy"),
        ({"objectives": []}, "but got none"),
        ({"objectives": ["accuracy", "speed"]}, r"objectives\.1.*but got 'speed'"),
        ({"objectives": ["accuracy", "queries"]}, "scheduler.kind: must be none with several"),
        (
            {
                "objectives": ["accuracy", "queries"],
                "scheduler": {"kind": "none"},
                "sampler": {"kind": "cma_es"},
            },
            "sampler.kind: must not be cma_es with several objectives",
        ),
        ({"sampler": {"kind": "nsga3", "population": 1}}, "greater than or equal to 2"),
        ({"sampler": {"kind": "bayes"}}, "sampler.*'bayes'"),
        ({"scheduler": {"kind": "pbt"}}, "scheduler.*'pbt'"),
        ({"max_total_queries": 100}, "max_total_queries >= max_queries must hold.*100 and 8000"),
        ({"warm_start": [{"kind": "search", "path": "ftp://x/y"}]}, "warm_start.0.path"),
        (
            {"warm_start": [{"kind": "study", "storage": "mysql://me:pw@h/db", "study": "s"}]},
            "warm_start.0.storage: must be without credentials",
        ),
    ],
)
def test_a_way_to_walk_the_space_that_cannot_be_gone_is_refused(
    tmp_path: Path, section: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, {"parameters": {"head.learning_rate": RATE}, **section})
    assert "pw@" not in str(caught.value)
