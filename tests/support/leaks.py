"""Data sets that differ only in what nobody may choose by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from craft_ray.data.dataset import Dataset, Item
from craft_ray.task.preparation import FewShotData
from tests.support.fake_oracle import images_of
from tests.support.world import CLASS_NAMES, encode_png, world_data


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
