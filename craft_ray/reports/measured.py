"""Which images say how good a result is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Images = Literal["test", "validation", "held_out"]
"""`held_out`: the training images, each under a head that was not fitted to it."""

CHOSEN_ON: Mapping[Images, str] = {
    "validation": "validation images",
    "held_out": "held-out training images",
}


def measured_on(
    summary: Mapping[str, Any], result: Mapping[str, Any] | None
) -> tuple[Images | None, int]:
    """Test images; without these those that the result was chosen by; None where nothing measured
    it. And how many they are.

    Args:
        summary: of a run.
        result: of its classifier, in the summary; None: it has none, and zero-shot is looked at.
    """
    zero_shot = summary["zero_shot"]
    numbers: dict[Images, str] = {
        "test": "num_test",
        "validation": "num_validation",
        "held_out": "num_train",
    }
    for images, number in numbers.items():
        if zero_shot.get(images) and (result is None or result.get(images)):
            return images, int(summary["data"][number])
    return None, 0
