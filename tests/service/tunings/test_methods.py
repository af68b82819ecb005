"""From what a user asks for to settings: a white list, and the laws of the real settings."""

from __future__ import annotations

from typing import Any

import pytest

from craft_ray.config.documents import to_yaml
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.service.tunings.api_error import ApiError
from craft_ray.service.tunings.methods import Plan, plan_of, read_method
from craft_ray.service.tunings.upload import Facts

FACTS = Facts(("cat", "dog"), (9, 5))


def planned(method: dict[str, Any] | None, has_validation: bool = False, **more: Any) -> Plan:
    return plan_of(read_method(method, more.get("hyperparameters")), 3, FACTS, has_validation, 9000)


def run_of(plan: Plan) -> RunConfig:
    config = plan.load()
    assert isinstance(config, RunConfig)
    return config


def test_probes_without_a_word_learn_from_all_images_and_need_no_others() -> None:
    config = run_of(planned(None))
    assert (config.method, config.head.kind, config.seed) == ("head", "probes", 3)
    assert config.data.shots == "all"
    assert config.data.validation == "none"
    assert run_of(planned(None, has_validation=True)).data.validation == "full"


def test_settings_dotted_or_nested() -> None:
    for settings in (
        {"head.names": 7, "data.shots": 4},
        {"head": {"names": 7}, "data": {"shots": 4}},
    ):
        config = run_of(planned({"type": "probes", "settings": settings}))
        assert config.head.model_dump()["names"] == 7
        assert config.data.shots == 4


def test_the_papers_method_without_validation_takes_its_last_state() -> None:
    config = run_of(planned({"type": "craft", "budget": 400}))
    assert (config.method, config.max_queries) == ("both", 400)
    assert config.fidelity.selection == "last"
    assert run_of(planned({"type": "craft"}, has_validation=True)).fidelity.selection != "last"


def test_a_search() -> None:
    plan = planned({"type": "search", "trials": 3, "budget": 700})
    space = plan.load()
    assert isinstance(space, SpaceConfig)
    assert (space.trials, space.max_total_queries, plan.command) == (3, 700, "tune")
    again = SpaceConfig.model_validate(space.model_dump(mode="json"))
    assert to_yaml(again.model_dump(mode="json")) == to_yaml(space.model_dump(mode="json"))
    quick = planned({"type": "search", "preset": "quickstart"}, has_validation=True).load()
    assert isinstance(quick, SpaceConfig)
    assert quick.base.data.shots == 5  # of the smallest class


def test_a_search_that_nothing_could_compare_needs_validation_images() -> None:
    with pytest.raises(ApiError, match="validation_file must be given") as error:
        planned({"type": "search", "preset": "quickstart"})
    assert error.value.param == "validation_file"


def test_openais_own_words() -> None:
    auto = {"n_epochs": "auto", "batch_size": "auto"}
    plan = planned({"type": "supervised", "supervised": {"hyperparameters": auto}})
    assert (plan.preset, plan.notes) == ("probes", ())
    (note,) = planned(None, hyperparameters={"n_epochs": 3}).notes
    assert "hyperparameters.n_epochs=3 has no effect" in note


@pytest.mark.parametrize(
    ("method", "law"),
    [
        ({"type": "dpo"}, "method.type must be probes, craft, search or supervised"),
        ({}, "method.type must be"),
        ({"type": "probes", "preset": "craft"}, "preset must be probes when"),
        ({"type": "probes", "trials": 3}, "trials must be left out"),
        ({"type": "probes", "extra": 3}, "method may have .* but has 'extra'"),
        ({"type": "probes", "settings": [1]}, "settings must be an object"),
        ({"type": "craft", "budget": 10_000}, "budget must be at most 9,000 queries"),
        ({"type": "craft", "budget": "many"}, "budget must be a whole number"),
        ({"type": "search", "preset": "craft"}, "budget must be at most 9,000 .* 128,000"),
        ({"type": "probes", "settings": {"head.names": -1}}, "head.names"),
        ({"type": "probes", "settings": {"head.offset": "/etc/x.json"}}, "files are not read"),
        ({"type": "probes", "settings": {"head.kind": "features"}}, "does not show"),
        ({"type": "craft", "settings": {"prompt.intrinsic_dim": 10**9}}, "at most 2048"),
        ({"type": "craft", "settings": {"prompt": {"start": "/etc"}}}, "names a file of the owner"),
        ({"type": "craft", "settings": {"prompt.start=/etc": 1}}, "named as section.key"),
        ({"type": "craft", "settings": {"optimizer.words": ["a"] * 3000}}, "2,000 entries"),
        ({"type": "probes", "settings": {"method": "white_box"}}, "oracle.white_box"),
        # Texts are read as numbers: bounds hold for what was read.
        ({"type": "craft", "settings": {"prompt.intrinsic_dim": "100000"}}, "at most 2048"),
        ({"type": "craft", "settings": {"data.views": "200"}}, "views must be at most 16"),
        ({"type": "search", "settings": {"trials": "500"}}, "trials must be at most 64"),
        ({"type": "search", "trials": 500}, "trials must be at most 64"),
        ({"type": "search", "trials": "9"}, "trials must be a whole number"),
        ({"type": "craft", "budget": {"1": 5, "16": 10**9}}, "budget must be a whole number"),
        ({"type": "craft", "settings": {"seed": 10**30}}, "seed must be a whole number"),
        ({"type": "craft", "settings": {"seed": "5"}}, "seed must be a whole number"),
        ({"type": "craft", "settings": {"data.template": "a" * 2000 + "{}"}}, "1,000 characters"),
        ({"type": "probes", "settings": {"head.vocabulary": ["a" * 2000]}}, "1,000 characters"),
        ({"type": "probes", "settings": {f"head.a{n}": 1 for n in range(101)}}, "100 entries"),
        # What cannot be looked up in a table.
        ({"type": ["probes"]}, "type must be"),
        ({"type": "probes", "preset": ["probes"]}, "preset must be"),
        ({"type": "probes", "settings": {"head.offset": ["waffle"]}}, "files are not read"),
        ({"type": "supervised", "supervised": {"hyperparameters": [1]}}, "must be an object"),
    ],
)
def test_a_method_that_breaks_a_law(method: dict[str, Any], law: str) -> None:
    with pytest.raises(ApiError, match=law) as error:
        planned(method, has_validation=True)
    assert error.value.status == 400
    assert error.value.param == "method"


def test_each_hyperparameter_without_effect_is_told_shortly_and_there_are_few() -> None:
    plan = planned({"type": "probes"}, hyperparameters={"n_epochs": "x" * 10**5})
    assert len(plan.notes[0]) < 300
    many = {f"a{number}": 1 for number in range(21)}
    with pytest.raises(ApiError, match="at most 20, but are 21"):
        planned({"type": "supervised", "supervised": {"hyperparameters": many}})


@pytest.mark.parametrize(
    "key",
    [
        *("output_dir", "data.source", "data.source.root", "oracle.model", "pool.attach", "name"),
        *("ray.address", "mlflow.tracking_uri", "answer_cache.folder", "data.unlabelled", "head"),
        *("data.more_classes", "time_limit_s", "base.output_dir", "parameters.seed", "variants.x"),
    ],
)
def test_what_is_the_owners(key: str) -> None:
    for kind in ("probes", "search"):
        with pytest.raises(ApiError, match=r"method.settings may have"):
            planned({"type": kind, "settings": {key: "x"}})
