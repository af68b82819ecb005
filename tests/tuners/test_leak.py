"""No choice may depend on the test split: the check, and proof that it catches a leak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from craft_ray.data.dataset import Dataset, Item
from craft_ray.files.whole_files import Arrays
from craft_ray.task.preparation import FewShotData
from tests.support.fake_oracle import images_of
from tests.support.world import CLASS_NAMES, encode_png, make_world, run_config, world_data

METHODS: dict[str, dict[str, Any]] = {
    "both": {"method": "both"},
    "prompt": {"method": "prompt"},
    "head": {"method": "head"},
    "probes": {"method": "head", "head": {"kind": "probes", "names": 0, "contexts": 3}},
}


def data_with_test_split(seed: int) -> FewShotData:
    """The same training and validation images, and other test images under drawn labels."""
    data = world_data()
    rng = np.random.default_rng(seed)
    names = rng.choice(CLASS_NAMES, size=40)
    test = tuple(
        Item(encode_png(images_of(name, 1, rng)[0]), int(rng.integers(len(CLASS_NAMES))), f"t {i}")
        for i, name in enumerate(names)
    )
    splits = {**data.dataset.splits, "test": test}
    return replace(data, dataset=Dataset("fake", CLASS_NAMES, splits))


def leaking(data: FewShotData) -> FewShotData:
    """The planted leak: the state to return is chosen on the test split."""
    return replace(data, validation=tuple(data.dataset.splits["test"]))


def result_of(data: FewShotData, method: str) -> Arrays:
    """What is returned, and all that decides the future of the training."""
    config = run_config(**METHODS[method], evaluate_every_generations=1)
    trainer, _ = make_world(config, data=data).trainer()
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
