"""Words of a command line: what they change, what they drop, what they take out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.commands import tune
from craft_ray.config.data import FolderSource
from craft_ray.config.documents import set_by_path
from craft_ray.config.given import given_space
from craft_ray.config.loading import load_default_run, load_run_config, load_space_config
from craft_ray.config.shipped import CRAFT_RUN, DEFAULT_RUN, SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError

QUICKSTART = SPACES / "quickstart.yaml"
OWN = SPACES / "own_images.yaml"


def quickstart(*words: str) -> SpaceConfig:
    return load_space_config(QUICKSTART, words)


def refusal(path: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_space_config(path, words)
    return str(caught.value)


def test_a_searched_setting_is_changed_and_taken_out_by_its_path() -> None:
    path = "optimizer.sigma"
    space = quickstart(f"parameters.{path}.low=0.05", f"parameters.{path}.when.method=[both]")
    assert space.parameters[path].corners()[0] == 0.05
    narrow = refusal(QUICKSTART, f"parameters.{path}.low=0.2")
    assert f"first_trials.1.{path}: must lie in 0.2..0.5, but got 0.1" in narrow
    assert "first_trials=[] on the command line does without" in narrow
    assert space.parameters[path].when == {"method": ("both",)}
    without = quickstart(f"parameters.{path}=null")
    assert path not in without.parameters
    assert all(path not in point for point in without.first_trials)
    assert len(without.first_trials) == 2
    hidden = "{kind: choice, values: [8, 16], when: {variant: craft}}"
    added = quickstart(f"parameters.head.hidden={hidden}", "first_trials=[]")
    assert added.parameters["head.hidden"].when == {"variant": ("craft",)}
    linear = quickstart(f"parameters.{path}.kind=uniform", f"parameters.{path}.high=0.6")
    assert linear.parameters[path].model_dump(exclude={"when"}) == {
        "kind": "uniform",
        "low": 0.02,
        "high": 0.6,
    }


def test_variants_are_named_with_dots_and_changed_by_their_names(tmp_path: Path) -> None:
    document = {"variants": {"a.b": {"method": "head"}, "a": {}}, "base": {"data": {"views": 4}}}
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(document))
    words = [
        "variants.a.b.head.kind=probes",
        "variants.a.optimizer.sigma=3",
        "variants.c.method=prompt",
    ]
    space = load_space_config(path, words)
    assert space.variants["a.b"] == {"method": "head", "head": {"kind": "probes"}}
    assert space.variants["a"] == {"optimizer": {"sigma": 3}}
    assert space.variants["c"] == {"method": "prompt"}


@pytest.mark.parametrize("path", [QUICKSTART, OWN], ids=["quickstart", "own_images"])
@pytest.mark.parametrize("name", ["probes", "craft", "class_contexts", "searched_probes"])
def test_any_shipped_variant_is_taken_out_by_one_word(path: Path, name: str) -> None:
    full, space = load_space_config(path), load_space_config(path, [f"variants.{name}=null"])
    assert space.variants.keys() == full.variants.keys() - {name}
    left = [point for point in full.first_trials if point["variant"] != name]
    assert list(space.first_trials) == left
    for parameter in space.parameters.values():
        assert name not in parameter.when.get("variant", ())
    of_craft = {"head.learning_rate", "loss.prompt_consistency", "loss.head_consistency"}
    gone = of_craft if path == OWN and name == "craft" else set()
    assert full.parameters.keys() - space.parameters.keys() == gone


def test_the_last_variant_is_a_set_of_settings() -> None:
    words = [f"variants.{name}=null" for name in ("probes", "class_contexts", "searched_probes")]
    space = quickstart(*words)
    assert "variant" not in space.tree.order
    (point,) = space.first_trials
    assert space.problem_of(point) is None
    assert space.resolve(point).soft_optimizer.batches == 4
    hidden = "{kind: choice, values: [8, 16], when: {variant: craft}}"
    more = quickstart(*words, f"parameters.head.hidden={hidden}", "first_trials=[]")
    assert more.problem_of({**point, "head.hidden": 8}) is None
    other = quickstart(*(f"variants.{n}=null" for n in ("probes", "class_contexts", "craft")))
    assert other.resolve({}).head.kind == "probes"
    assert other.first_trials == ()
    none = quickstart(*words, "variants.craft=null", "first_trials=[]")
    assert none.resolve({}) == none.base
    for each in (space, more, other, none):
        assert SpaceConfig.model_validate(each.model_dump(mode="json")) == each


def test_what_named_only_what_is_taken_out_goes_with_it() -> None:
    words = [
        "parameters.head.contexts={kind: choice, values: [0, 2], when: {variant: probes}}",
        "parameters.head.context_std={kind: uniform, low: 1, high: 2, when: {head.contexts: 2}}",
        "first_trials=[]",
    ]
    searched = {"head.contexts", "head.context_std"}
    assert searched <= quickstart(*words).parameters.keys()
    assert not searched & quickstart(*words, "variants.probes=null").parameters.keys()
    # ... and with a parameter, but no mistake goes unnoticed.
    assert "head.context_std" not in quickstart(*words, "parameters.head.contexts=null").parameters
    text = refusal(QUICKSTART, "parameters.optimizer.sigma.when={method: bothh}")
    assert "parameters.optimizer.sigma.when: must be able to hold" in text


SEARCHES = [
    path
    for path in sorted(SPACES.glob("**/*.yaml"))
    if "parameters" in yaml.safe_load(path.read_text()) and path.name != "fixed_classes.yaml"
]


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
@pytest.mark.parametrize("shots", [1, 2, 4])
def test_every_shipped_search_takes_few_shots_as_typed(path: Path, shots: int) -> None:
    space = load_space_config(path, [f"data.shots={shots}"])
    for branch in space.tree.branches():
        run = space.tree.some_run(branch)
        assert run is not None
        assert run.num_batches <= shots
    assert ("searched_probes" in space.variants) == (path in (QUICKSTART, OWN) and shots > 1)
    assert all("min_shots" not in changes for changes in space.variants.values())
    if shots == 4 and path == QUICKSTART:
        assert space.base.soft_optimizer.batches == 4


def test_with_one_image_a_class_a_searched_head_is_refused_with_the_law() -> None:
    text = refusal(SPACES / "fixed_classes.yaml", "data.shots=1")
    assert "data.shots >= 2 must hold when method is both and head.kind is probes" in text


def test_batches_beyond_the_shots_are_not_searched() -> None:
    words = ["data.shots=2", "parameters.optimizer.batches={kind: choice, values: [1, 4]}"]
    text = refusal(SPACES / "collaborative.yaml", *words)
    assert "parameters.optimizer.batches: must have values that a run can have, but got 4" in text


def test_what_is_printed_has_the_batches_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tune.main(["data.shots=1", "--print-config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["base"]["optimizer"]["batches"] == 1
    assert list(shown["variants"]) == ["probes", "craft", "class_contexts"]


TPE = {"kind": "tpe", "startup_trials": 4, "multivariate": False}


@pytest.mark.parametrize(
    ("words", "section", "kept"),
    [
        (["scheduler.kind=none"], "scheduler", {"kind": "none"}),
        (
            ["scheduler.kind=median"],
            "scheduler",
            {"kind": "median", "grace_queries": 200, "min_trials": 3},
        ),
        (["sampler.kind=random"], "sampler", {"kind": "random"}),
        (["sampler.kind=gp"], "sampler", {"kind": "gp", "startup_trials": 4}),
        (
            ["sampler.kind=nsga3", "sampler.population=5"],
            "sampler",
            {"kind": "nsga3", "population": 5},
        ),
        (["sampler.kind=tpe"], "sampler", TPE),
    ],
)
def test_another_kind_of_sampler_or_scheduler_is_one_word(
    words: list[str], section: str, kept: dict[str, Any]
) -> None:
    assert getattr(quickstart(*words), section).model_dump() == kept


def test_another_kind_of_any_section_drops_what_it_does_not_know_and_keeps_the_rest() -> None:
    run = load_default_run(["head.kind=residual_mlp"])
    assert (run.method, run.head.kind) == ("head", "residual_mlp")
    spsa = load_run_config(CRAFT_RUN, ["optimizer.kind=spsa"])
    assert (spsa.optimizer.kind, spsa.optimizer.population) == ("spsa", 40)
    folder = load_run_config(DEFAULT_RUN, ["data.source.kind=folder", "data.source.root=x"])
    assert folder.data.source == FolderSource(root="x")
    space = quickstart("variants.searched_probes.head.kind=linear")
    assert space.variants["searched_probes"]["head"] == {"kind": "linear"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["head.names=3", "head.kind=linear"], "head.names: is not a known setting, but one of"),
        (["head.kind=linear", "head.names=3"], "head.names: is not a known setting, but one of"),
        (["head.kind=nothing"], r"head\.kind: .*'nothing'"),
        (["head.nmes=3", "head.kind=linear"], "head.nmes: is not a known setting"),
        (["head.kind=[3]"], r"head\.kind: "),
    ],
)
def test_what_was_typed_is_never_dropped(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_default_run(words)


def test_an_alias_in_a_file_is_not_changed_with_its_anchor(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    base = "base: {optimizer: &o {population: 20}}\n"
    path.write_text(base + "variants: {a: {optimizer: *o, method: prompt}, b: {}}")
    space = load_space_config(path, ["optimizer.population=30"])
    assert space.variants["a"]["optimizer"] == {"population": 20}


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.integers())
def test_a_path_in_parts_may_have_dots(parts: list[str], value: int) -> None:
    document: dict[str, Any] = {}
    set_by_path(document, parts, value)
    for part in parts[:-1]:
        document = document[part]
    assert document == {parts[-1]: value}


def test_both_without_a_file_is_not_taken_for_the_papers_method() -> None:
    with pytest.raises(ConfigError) as caught:
        load_default_run(["method=both"])
    assert f"craft-ray train {CRAFT_RUN} method=both" in str(caught.value)
    assert "say head.kind as well" in str(caught.value)
    words = ["method=both", "head.kind=probes", "head.names=0"]
    assert load_default_run(words).method == "both"


def test_a_value_for_what_is_searched_is_refused_with_the_word_that_makes_it_count() -> None:
    path = SPACES / "around_paper.yaml"
    with pytest.raises(ConfigError, match=r"optimizer\.sigma: is searched over here") as caught:
        load_space_config(path, ["optimizer.sigma=0.3"])
    assert "say parameters.optimizer.sigma=null as well" in str(caught.value)
    words = ["optimizer.sigma=0.3", "parameters.optimizer.sigma=null"]
    assert load_space_config(path, words).base.soft_optimizer.sigma == 0.3
    with pytest.raises(ConfigError, match=r"optimizer\.sigma: is searched over here"):
        load_space_config(path, ["optimizer={kind: cma_es, sigma: 0.3}"])
    with pytest.raises(ConfigError, match=r"settings: optimizer\.sigma: is searched over here"):
        given_space(load_space_config(path), {"optimizer.sigma": 0.3})


def test_a_value_of_a_variant_for_what_is_searched_is_refused() -> None:
    problem = r"variants\.craft\.optimizer\.sigma: is searched over here, and no trial"
    with pytest.raises(ConfigError, match=problem):
        quickstart("variants.craft.optimizer.sigma=0.3")
    searched = "parameters.optimizer.sigma.when.variant=[class_contexts, searched_probes]"
    quickstart("variants.craft.optimizer.sigma=0.3", searched, "first_trials=[]")


def test_a_text_that_yaml_takes_for_a_mapping_is_asked_for_in_quotes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.template: must be text.*put it into quotes"):
        load_run_config(None, ["data.template=a photo: {}"])
    assert load_run_config(None, ['data.template="a photo: {}"']).data.template == "a photo: {}"
    path = tmp_path / "run.yaml"
    path.write_text("data:\n  template: a photo: {}\n")
    with pytest.raises(ConfigError, match="must stand in quotes"):
        load_run_config(path)
