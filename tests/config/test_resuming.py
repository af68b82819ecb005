"""What a run of an earlier version meant by what it did not say."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from craft_ray.config.given import given_run, given_space
from craft_ray.config.resuming import changes_that_matter
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig

LATER = ("fit", "unlabelled")


def earlier(values: Any) -> Any:
    """As versions before `head.fit` wrote it."""
    if not isinstance(values, dict):
        return values
    return {key: earlier(value) for key, value in values.items() if key not in LATER}


def test_a_head_of_a_run_before_there_was_a_choice_is_not_gone_on_with_by_another() -> None:
    now = given_run(None, {"method": "head", "head.kind": "probes"}).model_dump(mode="json")
    assert changes_that_matter(RunConfig, now, now) == []
    [change] = changes_that_matter(RunConfig, earlier(now), now)
    assert change == ("head.fit", "cross_validated", "anchored")


def test_nor_is_a_search_by_variants_of_another_head() -> None:
    now = given_space(None, {}).model_dump(mode="json", exclude={"base": {"name"}})
    assert changes_that_matter(SpaceConfig, now, now) == []
    found = changes_that_matter(SpaceConfig, earlier(now), now)
    assert {change.key.split(".")[-1] for change in found} == {"fit"}
    assert {change.was for change in found} == {"cross_validated"}


def test_what_is_trained_is_what_it_was() -> None:
    now = given_run(None, {"method": "both", "head.kind": "residual_mlp"}).model_dump(mode="json")
    assert changes_that_matter(RunConfig, earlier(now), now) == []


def test_what_was_the_default_goes_on_as_auto_and_nothing_else_does() -> None:
    now = given_run(None, {}).model_dump(mode="json")
    assert now["oracle"]["precision"] == now["oracle"]["max_tokens_per_forward"] == "auto"
    earlier_run = deepcopy(now)
    earlier_run["oracle"] |= {"precision": "fp32", "max_tokens_per_forward": 8192}
    assert changes_that_matter(RunConfig, earlier_run, now) == []
    earlier_run["oracle"]["max_tokens_per_forward"] = 100
    [change] = changes_that_matter(RunConfig, earlier_run, now)
    assert change == ("oracle.max_tokens_per_forward", 100, "auto")
    half = deepcopy(now)
    half["oracle"]["precision"] = "bf16"
    assert changes_that_matter(RunConfig, half, now) == [("oracle.precision", "bf16", "auto")]
    assert changes_that_matter(RunConfig, now, half) == [("oracle.precision", "auto", "bf16")]
