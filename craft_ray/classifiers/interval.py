"""How sure an accuracy is, from the number of images that it was counted on."""

from __future__ import annotations

from scipy.stats import binomtest


def accuracy_interval(accuracy: float, num_images: int) -> tuple[float, float]:
    """95 % interval after Wilson (1927), which is right also in small samples and at 0 and 1.

    Args:
        accuracy: share of images that were right, a whole number of them.
        num_images: at least 1.
    """
    test = binomtest(round(accuracy * num_images), num_images)
    interval = test.proportion_ci(0.95, method="wilson")
    return max(float(interval.low), 0.0), min(float(interval.high), 1.0)
