"""Settings of a run: what is accepted, and how a mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from craft_ray.config.documents import MAX_CONFIG_BYTES, flatten
from craft_ray.config.loading import load_run_config
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from tests.support.heads import mlp_of


def write(folder: Path, document: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def problems_of(path: Path | None, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_run_config(path, overrides)
    return caught.value.problems


def test_without_a_file_the_defaults_hold() -> None:
    assert load_run_config(None) == RunConfig()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}"])
def test_an_empty_file_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_run_config(write(tmp_path, text)) == RunConfig()


def test_what_a_run_stores_gives_the_same_run_again(tmp_path: Path) -> None:
    words = ["fidelity=reference", "data.source={kind: folder, root: x}", "optimizer.bound=null"]
    config = load_run_config(None, words)
    assert load_run_config(write(tmp_path, config.model_dump(mode="json"))) == config


def test_every_unknown_or_mistyped_setting_is_reported_at_once(tmp_path: Path) -> None:
    document = {
        "sede": 1,
        "method": "bth",
        "head": {"learning_rate": "fast", "hiden": 3},
        "optimizer": {"population": 2.5},
        "data": {"shots": -1, "template": "texture"},
        "pool": {"replicas": "many"},
    }
    with pytest.raises(ConfigError) as caught:
        load_run_config(write(tmp_path, document))
    by_field = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert by_field["sede"] == "is not a known setting: did you mean seed?"
    assert by_field["head.hiden"] == "is not a known setting: did you mean hidden?"
    assert by_field["method"].endswith("but got 'bth': did you mean both?")
    assert by_field["head.learning_rate"].endswith("but got 'fast'")
    assert by_field["optimizer.population"].endswith("but got 2.5")
    assert by_field["data.shots"].endswith("but got -1")
    assert "must contain {} exactly once" in by_field["data.template"]
    assert any(field.startswith("pool.replicas") for field in by_field)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    assert str(caught.value).startswith(str(tmp_path / "run.yaml"))


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("seed=-1", "seed"),
        ("max_queries=0", "max_queries"),
        ("head.learning_rate=0", "head.learning_rate"),
        ("head.learning_rate=.nan", "head.learning_rate"),
        ("optimizer.sigma=.inf", "optimizer.sigma"),
        ("optimizer.sigma=inf", "optimizer.sigma"),
        ("loss.head_consistency=-0.1", "loss.head_consistency"),
        ("data.crop_scale_min=1.5", "data.crop_scale_min"),
        ("data.source={kind: nowhere}", "data.source.kind"),
        ("data.source={kind: folder}", "data.source.root"),
        ("oracle.precision=fp8", "oracle.precision"),
        ("pool.gpus_per_replica=1.5", "pool.gpus_per_replica"),
        ("pool.gpus_per_replica=0.00001", "pool.gpus_per_replica"),
        ("pool.cpus_per_replica=0.00001", "pool.cpus_per_replica"),
        ("name=../outside", "name"),
        ("name=.hidden", "name"),
        ("seed=", "seed"),
        ("data=5", "data"),
        ("data=null", "data"),
    ],
)
def test_a_value_that_breaks_a_law_is_named_by_its_field(word: str, field: str) -> None:
    (problem,) = problems_of(None, word)
    assert problem.startswith(f"{field}: ")


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "0.0001", "1.0e-4", "1e-04"])
def test_numbers_that_yaml_reads_as_words_are_repaired(tmp_path: Path, number: str) -> None:
    in_file = load_run_config(write(tmp_path, f"head: {{learning_rate: {number}}}"))
    in_word = load_run_config(None, [f"head.learning_rate={number}"])
    assert mlp_of(in_file).learning_rate == mlp_of(in_word).learning_rate == 1e-4
    bound = load_run_config(None, ["optimizer.bound=5e0"]).soft_optimizer.bound
    assert bound == 5.0


def test_overrides_change_single_values_and_the_last_one_wins(tmp_path: Path) -> None:
    path = write(tmp_path, {"seed": 3, "head": {"hidden": 7, "batch_size": 9}})
    config = load_run_config(path, ["head.hidden=8", "head.hidden=11", "optimizer.bound=null"])
    assert config.seed == 3
    assert (mlp_of(config).hidden, mlp_of(config).batch_size) == (11, 9)
    assert config.soft_optimizer.bound is None


def test_a_section_may_be_replaced_and_then_changed() -> None:
    config = load_run_config(None, ["head={hidden: 5}", "head.batch_size=2"])
    assert (mlp_of(config).hidden, mlp_of(config).batch_size) == (5, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed"], "must read key=value, but got 'seed'"),
        (["=1"], "must read key=value, but got '=1'"),
        (["seed=[1"], "seed: .* is not valid YAML"),
        (["seed=!!bool maybe"], "seed: '!!bool maybe' is not valid YAML"),
        (["data=5", "data.shots=3"], "data.shots: data must be a section, but is 5"),
        (["data=5", "data.source.fidelity.x=1"], "data must be a section, but is 5"),
        (["seed.a.b=3"], "seed"),
        (["no.such.key=3"], "no: is not a known setting"),
    ],
)
def test_an_override_that_cannot_be_applied_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run_config(None, words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "must be a mapping, but is a list"),
        (b"word", "must be a mapping, but is a str"),
        (b"a: [1", "is not valid YAML"),
        (b"a: 1\n\tb: 2", "is not valid YAML"),
        (b"seed: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        (b"seed: !!bool maybe", "is not valid YAML"),
        (b"seed: !!timestamp soon", "is not valid YAML"),
        (b"seed: !!timestamp 2020-13-45", "is not valid YAML"),
        (b"[" * 3_000, "is not valid YAML"),
        (b"seed: \xff\xfe", "cannot be read"),
        (b"#" * (MAX_CONFIG_BYTES + 1), f"at most {MAX_CONFIG_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_run_config(path)


@pytest.mark.parametrize("name", ["absent.yaml", "null\0byte.yaml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_run_config(tmp_path / name)
    with pytest.raises(ConfigError, match="must be a file of settings, but is a folder"):
        load_run_config(tmp_path)


def test_the_budget_must_pay_for_one_generation() -> None:
    (problem,) = problems_of(None, "max_queries=39", "optimizer.population=40")
    assert problem.endswith("got max_queries=39 and optimizer.population=40")
    assert load_run_config(None, ["max_queries=40"]).num_generations == 1
    assert load_run_config(None, ["max_queries=119"]).num_generations == 2


@pytest.mark.parametrize("template", ["{}", " {} texture", "a {} {}", "a photo", "a {0} {}", "{"])
def test_a_template_must_have_words_and_one_placeholder(template: str) -> None:
    document: dict[str, Any] = {"data": {"template": template}}
    (problem,) = problems_of(None, f"data={yaml.safe_dump(document['data'])}")
    assert problem.startswith("data.template: must")


@pytest.mark.parametrize(
    ("words", "law"),
    [
        (["oracle.pretrained=openai"], "must be null for model 'embedded'"),
        (["oracle.model=local-dir:x", "oracle.pretrained=openai"], "must be null"),
        (["oracle.model=ViT-B-32"], "must name a tag or a checkpoint file"),
    ],
)
def test_weights_are_named_exactly_once(words: list[str], law: str) -> None:
    (problem,) = problems_of(None, *words)
    assert problem.startswith("oracle: pretrained ")
    assert law in problem


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 2  # type: ignore[misc]


def test_flatten_names_every_value_by_its_path() -> None:
    flat = flatten(RunConfig().model_dump(mode="json"))
    assert flat["data.source.kind"] == "embedded"
    assert flat["head.learning_rate"] == 1e-3
    assert not any(isinstance(value, dict) for value in flat.values())


SOURCES = {
    "a folder": "{kind: folder, root: images}",
    "a folder that is split": "{kind: folder, root: images, split_seed: 2, val_share: 0}",
    "a table": "{kind: csv, file: images.csv, root: /images}",
    "Parquet": "{kind: parquet, root: images, image_column: img, label_column: fine_label}",
    "CoOp's": "{kind: coop, root: /data, dataset: fgvc_aircraft}",
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources_are_known_by_their_kind(source: str) -> None:
    config = load_run_config(None, [f"data.source={SOURCES[source]}"])
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("{kind: coop, root: /data, dataset: mnist}", "data.source.*dataset: .*caltech101"),
        ("{kind: coop, dataset: dtd}", "data.source.*root: must be given"),
        ("{kind: csv, root: x}", "data.source.*file: must be given"),
        ("{kind: folder, root: x, train_share: 0.9}", r"train_share \+ val_share < 1 must hold"),
        ("{kind: parquet, root: x, image_column: ''}", "image_column"),
        ("{kind: coop, root: x, dataset: dtd, split_seed: 1}", "split_seed: is not a known"),
        ("{kind: parquet, root: x, layout: splits}", "layout: is not a known setting"),
    ],
)
def test_a_wrong_source_is_named_by_its_field(words: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_run_config(None, [f"data.source={words}"])


def test_validation_is_full_or_few_shot() -> None:
    assert RunConfig().data.validation == "full"
    assert load_run_config(None, ["data.validation=few_shot"]).data.validation == "few_shot"
    with pytest.raises(ConfigError, match=r"data\.validation: .*but got 'test'"):
        load_run_config(None, ["data.validation=test"])


def test_a_mapping_where_a_word_or_a_path_belongs_is_told_as_both() -> None:
    with pytest.raises(ConfigError) as raised:
        load_run_config(Path("tune_spaces/runs/craft.yaml"), ["data.unlabelled={a: 1}"])
    first, second = raised.value.problems
    assert first == "data.unlabelled: must be one of rest, but got {'a': 1}"
    assert second.startswith("data.unlabelled: must be text, but YAML reads it as a mapping")
