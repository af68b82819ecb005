"""Which settings go with no validation images, and with no training images."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from craft_ray.config.loading import load_default_run
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig

HEAD: dict[str, Any] = {"method": "head", "head": {"kind": "probes"}}
NONE: dict[str, Any] = {"validation": "none"}


def run(**settings: Any) -> RunConfig:
    return RunConfig.model_validate(settings)


def space(**settings: Any) -> SpaceConfig:
    searched = {"parameters": {"head.names": {"kind": "choice", "values": [10, 20]}}}
    return SpaceConfig.model_validate(
        {"name": "s", "base": {**HEAD, **settings}, **searched, "trials": 2}
    )


@pytest.mark.parametrize("kind", ["linear", "probes", "features"])
@pytest.mark.parametrize("shots", [1, 2, 16])
def test_fitted_heads_need_no_validation(kind: str, shots: int) -> None:
    oracle = {"features": True}
    run(method="head", head={"kind": kind}, oracle=oracle, data={**NONE, "shots": shots})


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_what_is_searched_or_trained_needs_it_unless_the_last_is_taken(method: str) -> None:
    with pytest.raises(ValidationError, match=r"data\.validation must be full.*got none.*=last"):
        run(method=method, data=NONE)
    run(method=method, data=NONE, fidelity={"selection": "last"})


def test_no_training_images_leave_no_validation_unless_it_is_asked_for() -> None:
    assert run(**HEAD, data={"shots": 0}).data.validation == "none"
    assert run(**HEAD, data={"shots": 0, "validation": "full"}).data.validation == "full"
    assert run(**HEAD, data={"shots": 1}).data.validation == "full"
    assert load_default_run(["data.shots=0"]).data.validation == "none"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {"shots": 0}}, r"data\.shots >= 1 must hold unless method is head"),
        ({"data": {"shots": 0}}, r"craft-ray train data\.shots=0, without a file, gives"),
        ({"method": "head", "data": {"shots": 0}}, r"data\.shots >= 1 must hold"),
        ({**HEAD, "data": {"shots": 0, "validation": "few_shot"}}, r"must be none or full"),
        ({**HEAD, "data": {"shots": 0, "unlabelled": "rest"}}, r"data\.unlabelled must be null"),
        ({**HEAD, "data": {"shots": 0}, "prompt": {"start": "runs/a"}}, r"prompt\.start must be"),
    ],
)
def test_what_cannot_do_without_training_images_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        run(**settings)


def test_a_search_compares_its_trials_by_images_that_are_held_out() -> None:
    space(data={**NONE, "shots": 3})
    for settings, message in (
        ({"data": {**NONE, "shots": 2}}, r"data\.shots is 2, and 3 images a class are needed"),
        ({"data": {**NONE, "shots": 4}, "head": {"kind": "probes", "folds": 2}}, r"folds is 2"),
        ({"data": {**NONE, "repeat_small_classes": True}}, r"an image may be there twice"),
        ({"data": {"shots": 0}}, r"data\.shots >= 1 must hold in a search"),
    ):
        with pytest.raises(ValidationError, match=message):
            space(**settings)
