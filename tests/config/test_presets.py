"""Settings of the paper: every file against the table, budgets by shots, searches around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from craft_ray.commands import tune
from craft_ray.config.data import CoopSource, DataConfig, EmbeddedSource
from craft_ray.config.heads import ResidualMlpConfig
from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.optimizers import CmaEsConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.oracle.check import check_model_exists

SPACES = Path(__file__).parents[2] / "tune_spaces"
AROUND = SPACES / "around_paper.yaml"


class Row(NamedTuple):
    """One line of the paper's settings, as the authors' configuration files give them."""

    bound: float | None
    sigma: float
    std: float
    n: int
    batch: int
    weight: float


FIRST_GROUP = Row(5, 1, 0.2, 4, 256, 0.1)
TABLE = {
    "caltech101": FIRST_GROUP,
    "oxford_flowers": FIRST_GROUP,
    "stanford_cars": FIRST_GROUP,
    "sun397": FIRST_GROUP,
    "ucf101": FIRST_GROUP,
    "fgvc_aircraft": Row(None, 0.02, 0.2, 4, 256, 0.1),
    "oxford_pets": Row(5, 0.02, 0.2, 1, 64, 0.1),
    "dtd": Row(5, 0.02, 1, 1, 256, 0.001),
    "eurosat": Row(5, 0.02, 1, 1, 256, 0.01),
    "food101": Row(None, 1, 0.2, 1, 256, 1),
    "imagenet": Row(None, 1, 0.0255, 1, 256, 0),
    "embedded": Row(5, 0.02, 1, 1, 256, 0.01),
}
BUDGETS = {1: 2000, 2: 4000, 4: 4000, 8: 8000, 16: 8000}
BACKBONES = ("RN50", "RN101", "ViT-B-32", "ViT-B-16")


def path_of(name: str) -> Path:
    return SPACES / "paper" / f"{name}.yaml"


def test_there_is_a_preset_for_every_row_and_no_other() -> None:
    assert {path.stem for path in (SPACES / "paper").iterdir()} == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_has_the_values_of_the_table(name: str) -> None:
    row, config = TABLE[name], load_run_config(path_of(name))
    is_imagenet = name == "imagenet"
    assert config.optimizer == CmaEsConfig(
        population=40, sigma=row.sigma, bound=row.bound, step_size_rule="csa"
    )
    assert config.prompt.intrinsic_dim == 512
    assert config.prompt.projection_std == row.std
    assert config.head == ResidualMlpConfig(
        hidden=512 if is_imagenet else 256,
        batch_size=row.batch,
        learning_rate=1e-3,
        weight_decay=0,
        epochs_per_generation=1,
    )
    assert config.loss.prompt_consistency == config.loss.head_consistency == row.weight
    assert config.loss.head_consistency_share == 1 / row.n
    assert config.seed == 1
    assert config.method == "both"


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_follows_the_authors_procedure(name: str) -> None:
    config = load_run_config(path_of(name))
    expected = load_run_config(None, ["fidelity=reference"]).fidelity.model_dump()
    if name == "imagenet":
        expected["deployed_prompt"] = "best"
    assert config.fidelity.model_dump() == expected
    assert config.data == DataConfig(
        source=EmbeddedSource()
        if name == "embedded"
        else CoopSource.model_validate({"root": "data", "dataset": name}),
        shots=16,
        repeat_small_classes=True,
        validation="few_shot",
        template="a photo of a {}.",
        views="fresh",
        crop_scale_min=0.08 if name == "imagenet" else 0.5,
    )
    expected_model = ("embedded", None) if name == "embedded" else ("RN50", "openai")
    assert (config.oracle.model, config.local_model.pretrained) == expected_model


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("shots", BUDGETS)
def test_the_budget_of_a_preset_follows_the_shots(name: str, shots: int) -> None:
    words = [f"data.shots={shots}"]
    expected = 4000 if name == "imagenet" else BUDGETS[shots]
    config = load_run_config(path_of(name), words)
    assert config.max_queries == expected
    assert type(config.max_queries) is int
    assert load_run_config(path_of(name), [*words, "max_queries=400"]).max_queries == 400


@pytest.mark.parametrize("name", TABLE)
def test_shots_without_a_budget_are_an_error(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run_config(path_of(name), ["data.shots=3"])
    assert caught.value.problems == (
        "max_queries must be a number or have an entry for data.shots=3, but has entries for "
        "1, 2, 4, 8, 16 only",
    )


@pytest.mark.parametrize("name", sorted(TABLE.keys() - {"embedded"}))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_of_the_paper_is_accepted(name: str, backbone: str) -> None:
    words = [f"oracle.model={backbone}", "data.source.root=/data"]
    config = load_run_config(path_of(name), words)
    assert (config.oracle.model, config.local_model.pretrained) == (backbone, "openai")
    check_model_exists(config.local_model)


@pytest.mark.parametrize("path", sorted(SPACES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_says_how_it_is_used(path: Path) -> None:
    comment = path.read_text(encoding="utf-8").split("\n")[:10]
    place = path.relative_to(SPACES.parent)
    said = [line for line in comment if line.startswith("#") and "python -m craft_ray." in line]
    assert said
    assert str(place) in " ".join(said) or path.stem == "quickstart"


def run_of(max_queries: Any, *words: str, **data: Any) -> RunConfig:
    document = {"max_queries": max_queries, "data": data}
    for word in words:
        key, value = word.split("=")
        document[key] = value
    return RunConfig.model_validate(document)


def test_a_budget_by_shots_is_one_number_after_validation() -> None:
    budgets = {1: 2000, 16: 8000}
    assert run_of(budgets, shots=1).max_queries == 2000
    assert run_of(budgets).max_queries == 8000, "16 shots are the default"
    assert run_of({"1": 2000}, shots="1").max_queries == 2000, "as JSON writes them"
    built = RunConfig.model_validate({"max_queries": budgets, "data": DataConfig(shots=1)})
    assert built.max_queries == 2000
    assert RunConfig.model_validate(built.model_dump(mode="json")) == built


def test_one_entry_of_a_budget_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("max_queries: {4: 4000, 16: 8000}\n")
    words = ["max_queries.4=80", "max_queries.2=40"]
    assert load_run_config(path, [*words, "data.shots=4"]).max_queries == 80
    assert load_run_config(path, [*words, "data.shots=2"]).max_queries == 40
    assert load_run_config(path, words).max_queries == 8000


@pytest.mark.parametrize(
    ("max_queries", "shots", "problem"),
    [
        ({4: 0}, 4, r"max_queries: .*greater than or equal to 1, but got 0"),
        ({4: "many"}, 4, r"max_queries: .*whole number, but got 'many'"),
        ({4: {4: 4}}, 4, r"max_queries: .*whole number"),
        ({4: 20}, 4, r"max_queries >= optimizer.population"),
        ({}, 4, r"has entries for nothing only"),
        ({"x": 1, None: 2}, 4, r"has entries for x, None only"),
        ({4: 4000}, "few", r"data.shots: .*but got 'few'"),
        ({4: 4000}, 0, r"entry for data.shots=0"),
        ({4: 4000}, [4], r"data.shots: "),
    ],
)
def test_a_budget_that_breaks_a_law_is_named(
    max_queries: Any, shots: Any, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"max_queries": max_queries, "data": {"shots": shots}}))
    with pytest.raises(ConfigError, match=problem) as caught:
        load_run_config(path)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", TABLE)
def test_a_search_around_a_preset(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SPACES.parent)
    words = [f"base=tune_spaces/paper/{name}.yaml", "data.shots=4"]
    space = load_space_config(AROUND, words)
    assert space.base == load_run_config(path_of(name), ["data.shots=4"])
    assert load_space_config(AROUND, words[::-1]) == space, "the file comes before the words"
    assert space.name == "around_paper"
    assert {path.rpartition(".")[2] for path in space.parameters} == {
        "sigma",
        "projection_std",
        "learning_rate",
        "prompt_consistency",
        "head_consistency",
    }
    trial = space.resolve({"optimizer.sigma": 0.5})
    assert (trial.soft_optimizer.sigma, trial.max_queries) == (0.5, space.base.max_queries)


def test_without_a_base_of_ones_own_a_file_is_relative_to_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_space_config(AROUND).base == load_run_config(path_of("embedded"))
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "embedded.yaml").write_text("seed: 7\nmax_queries: 80\n")
    assert load_space_config(AROUND).base.seed == 1
    assert load_space_config(AROUND, ["base=paper/embedded.yaml"]).base.seed == 7
    with pytest.raises(ConfigError, match=r"absent.yaml: cannot be read"):
        load_space_config(AROUND, ["base=absent.yaml"])
    sections = load_space_config(AROUND, ["base={seed: 4}", "base.max_queries=80"])
    assert (sections.base.seed, sections.base.max_queries) == (4, 80)


def test_settings_of_one_run_are_no_search_space(capsys: pytest.CaptureFixture[str]) -> None:
    path = path_of("dtd")
    assert tune.main([str(path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {path}: must be a search space with parameters, but holds")
    assert f"`craft-ray train {path}` runs it" in message
    assert f"tune_spaces/around_paper.yaml base={path}`" in message
