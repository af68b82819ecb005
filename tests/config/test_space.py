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
        (
            "optimizer.population",
            {"kind": "uniform", "low": 8, "high": 16},
            "but got 8.0: write 8, or",
        ),
        ("head.hidden", {"kind": "log_uniform", "low": 8, "high": 64}, "but got 8.0: write 8, or"),
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


PROBES = {"method": "head", "head": {"kind": "probes"}, "data": {"views": 4}}


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("head.names", ["900", 0], "own type, but got '900': write 900"),
        ("head.names", ["100", "500"], "own type, but got '100': write 100"),
        ("head.contexts", [2, "0"], "own type, but got '0': write 0"),
        ("head.contexts", [2, "false"], "but got 'false'"),
        ("head.contexts", [1, True], "values: must differ, but got 1 and True"),
        ("head.contexts", [2, 3.0], "own type, but got 3.0: write 3"),
        ("head.names", [20, 20], "values: must differ, but got 20 and 20"),
        ("head.names", [1, 2, 1.0], "values: must differ, but got 1 and 1.0"),
        ("prompt.per_class", ["yes", False], "own type, but got 'yes': write true"),
        ("prompt.per_class", [0, 1], "own type, but got 0: write false"),
        ("head.context_std", ["0.5", 1], "own type, but got '0.5': write 0.5"),
        (
            "head.names",
            [None, 3],
            "values.0: must be a number, a word, true or",
        ),
        ("head.names", [[1], 3], "must be a number, a word, true or false, but got [1]"),
        ("head.context_std", [0.5, float("inf")], "must be a finite number, but got inf"),
    ],
)
def test_a_choice_has_different_values_as_the_run_has_them(
    tmp_path: Path, path: str, values: list[Any], message: str
) -> None:
    base = {"data": {"views": 4}} if path == "prompt.per_class" else PROBES
    document = {"base": base, "parameters": {path: {"kind": "choice", "values": values}}}
    if path == "head.context_std":
        document["base"] = {**PROBES, "head": {"kind": "probes", "contexts": 2}}
    text = refusal(tmp_path, document)
    assert f"parameters.{path}" in text
    assert message in text
    assert "\n" not in text


def test_whole_numbers_of_a_setting_that_is_a_float_stay(tmp_path: Path) -> None:
    parameters = {"loss.head_consistency": {"kind": "choice", "values": [0, 1, 0.5]}}
    assert load(tmp_path, {"parameters": parameters}).is_valid({"loss.head_consistency": 1})


@pytest.mark.parametrize(
    ("path", "distribution", "message"),
    [
        ("head.names", {"low": 1, "high": 2_000_000_000}, "but got 2000000000"),
        ("method", {"low": 0, "high": 30_000_000}, "kind: must be choice, as method is a word"),
        ("head.kind", {"low": 0, "high": 30_000_000}, "kind: must be choice, as head.kind is a"),
        ("head.names", {"low": 1, "high": 10**19}, "less than or equal to 9007199254740992"),
        ("head.names", {"low": -(10**19), "high": 1}, "greater than or equal to -9007199254740992"),
        ("head.batch_size", {"low": 1, "high": 2, "step": 10**30}, "less than or equal to"),
        ("method", {"kind": "uniform", "low": 0, "high": 1}, "must be choice, as method is a word"),
    ],
)
def test_a_huge_range_is_looked_at_by_its_ends(
    tmp_path: Path, path: str, distribution: dict[str, Any], message: str
) -> None:
    others = {"head.folds": {"kind": "int_uniform", "low": 2, "high": 5}}
    parameters = {path: {"kind": "int_uniform", **distribution}, **others}
    text = refusal(tmp_path, {"base": PROBES, "parameters": parameters})
    assert f"parameters.{path}" in text
    assert message in text
    assert "head.folds" not in text


def test_a_huge_range_can_be_searched_but_decides_nothing(tmp_path: Path) -> None:
    huge: dict[str, Any] = {"kind": "int_uniform", "low": 1, "high": 2**53}
    parameters = {"head.hidden": huge, "optimizer.population": {**huge, "low": 4, "high": 2**53}}
    document = {"base": {"max_queries": 2**53}, "parameters": parameters}
    assert load(tmp_path, document).is_valid({"head.hidden": 7**9, "optimizer.population": 4})
    parameters["head.batch_size"] = {
        "kind": "choice",
        "values": [8, 16],
        "when": {"head.hidden": 1},
    }
    assert "must have at most 64 values, but has 9007199254740992" in refusal(tmp_path, document)


def test_many_choices_of_many_values_are_covered_in_part(tmp_path: Path) -> None:
    many = {"kind": "choice", "values": list(range(4, 1004))}
    paths = ("head.hidden", "head.batch_size", "optimizer.population", "prompt.intrinsic_dim")
    parameters = dict.fromkeys(paths, many)
    load(tmp_path, {"parameters": parameters})
    more = {"head.hidden": {"kind": "choice", "values": list(range(1, 1003))}}
    assert "at most 1000 items" in refusal(tmp_path, {"parameters": more})


@pytest.mark.parametrize("value", ["1e-3", "1E-3", "10e-4", "0.001", 1e-3])
def test_a_first_trial_is_read_as_its_parameter_is(tmp_path: Path, value: Any) -> None:
    points = [{"head.learning_rate": value}]
    document = {"parameters": {"head.learning_rate": RATE}, "first_trials": points}
    assert load(tmp_path, document).first_trials == ({"head.learning_rate": 1e-3},)
    choice = {"kind": "choice", "values": [1e-3, 1e-2]}
    if value != "0.001":
        document["parameters"] = {"head.learning_rate": {**choice, "values": [value, "1e-2"]}}
        assert load(tmp_path, document).parameters["head.learning_rate"] == Choice(**choice)


def test_a_first_trial_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    points = [
        {"head.learning_rate": 1e-3},
        {"head.learning_rate": 1e-2},
        {"head.learning_rate": "1e-3"},
    ]
    document = {"parameters": {"head.learning_rate": RATE}, "first_trials": points}
    text = refusal(tmp_path, document)
    assert "first_trials.2: must differ from first_trials.0" in text


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
