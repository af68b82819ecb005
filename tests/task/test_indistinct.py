"""Classes that a model does not tell apart are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from craft_ray.oracle.contract import FloatArray
from craft_ray.task.indistinct import indistinct_classes
from tests.support.fake_oracle import FakeOracle

PLAIN = FakeOracle().describe()
NAMES = ("a red car", "a red cat", "a dog")
SAME: FloatArray = np.array([[1, 1, 2], [3, 3, 4]], dtype=np.float32)


def test_equal_columns_are_named() -> None:
    said = indistinct_classes(SAME, NAMES, PLAIN)
    assert said is not None
    assert "the same scores for 'a red car' and 'a red cat', whatever the image" in said


def test_one_image_that_differs_is_enough() -> None:
    almost = SAME.copy()
    almost[1, 1] = np.nextafter(almost[1, 1], np.float32(9))
    assert indistinct_classes(almost, NAMES, PLAIN) is None


def test_many_are_not_all_named() -> None:
    names = [f"class {number}" for number in range(10)]
    said = indistinct_classes(np.zeros((2, 10), np.float32), names, PLAIN)
    assert said is not None
    assert said.count(" and 'class") == 3
    assert "and 6 more" in said


def test_rounded_scores_say_nothing() -> None:
    rounded = replace(PLAIN, capabilities=replace(PLAIN.capabilities, decimals=3))
    assert indistinct_classes(SAME, NAMES, rounded) is None
