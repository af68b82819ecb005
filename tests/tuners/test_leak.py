"""No choice may depend on the test split: the check, and proof that it catches a leak."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from craft_ray.files.whole_files import Arrays
from craft_ray.oracle.contract import Oracle
from craft_ray.task.preparation import FewShotData
from tests.support.fake_oracle import FakeOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.leaks import data_with_test_split, leaking
from tests.support.world import make_world, run_config

METHODS: dict[str, dict[str, Any]] = {
    "both": {"method": "both"},
    "prompt": {"method": "prompt"},
    "head": {"method": "head"},
    "probes": {"method": "head", "head": {"kind": "probes", "names": 0, "contexts": 3}},
    "features": {"method": "head", "head": {"kind": "features"}, "oracle": {"features": True}},
}
METHODS["cosines"] = METHODS["features"]
ORACLES: dict[str, Callable[[], Oracle]] = {
    "features": FakeFeatureOracle,
    "cosines": partial(FakeFeatureOracle, cosines=True),
}


def result_of(data: FewShotData, method: str) -> Arrays:
    """What is returned, and all that decides the future of the training."""
    config = run_config(**METHODS[method], evaluate_every_generations=1)
    oracle: Oracle = ORACLES.get(method, FakeOracle)()
    trainer, _ = make_world(config, oracle, data).trainer()
    while not trainer.finished:
        trainer.run_generation()
    state = trainer.state_dict()
    return {**state.arrays, "selected": np.array(str(state.values["selected"]))}


def depends_on_the_test_split(method: str, *, leak: bool) -> bool:
    results = []
    for seed in (1, 2):
        data = data_with_test_split(seed)
        results.append(result_of(leaking(data) if leak else data, method))
    one, two = results
    return one.keys() != two.keys() or any(not np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_that_is_returned_depends_on_the_test_split(method: str) -> None:
    assert not depends_on_the_test_split(method, leak=False)


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_leak_is_caught(method: str) -> None:
    assert depends_on_the_test_split(method, leak=True)
