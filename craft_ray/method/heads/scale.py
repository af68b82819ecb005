"""The factor of given logits that makes their probabilities right."""

from __future__ import annotations

import math

import numpy as np

from craft_ray.method.reduction import FloatArray, LabelArray
from craft_ray.method.softmax import Array, softmax

SMALLEST, LARGEST = 1e-3, 1e2
STEPS = 50
"""Halvings of an interval."""


def zero_shot_scale(logits_NC: FloatArray, labels_N: LabelArray) -> float:
    """How far zero-shot is to be trusted on a task: the factor t <= 1 of its logits.

    Fitted before anything else, with no other weight beside it. Fitted together with a head it
    would be arbitrary, as few images are separated perfectly under any factor. Near 0 where
    zero-shot is no better than chance.

    Args:
        logits_NC: of the plain training images.
        labels_N: their classes.
    """
    return best_scale(logits_NC, labels_N, largest=1.0)


def best_scale(logits_NC: FloatArray, labels_N: LabelArray, largest: float = LARGEST) -> float:
    """The factor t in [1e-3, largest] with the lowest mean cross-entropy of t l on n images, plus
    (ln t)^2 / 8n as a weak opinion that t is 1 (Guo et al., "On calibration of modern neural
    networks", ICML 2017)."""
    wide_NC: Array = logits_NC.astype(np.float64)
    right_N = wide_NC[np.arange(len(labels_N)), labels_N]

    def slope(log_t: float) -> float:
        """Of the objective, by ln t."""
        t = math.exp(log_t)
        expected_N = (softmax(t * wide_NC) * wide_NC).sum(axis=1)
        return t * float((expected_N - right_N).mean()) + log_t / (4 * len(labels_N))

    low, high = math.log(SMALLEST), math.log(largest)
    if slope(high) <= 0:
        return largest
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return math.exp((low + high) / 2)
