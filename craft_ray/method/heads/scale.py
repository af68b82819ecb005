"""The factor of given logits that makes their probabilities right."""

from __future__ import annotations

import math

import numpy as np

from craft_ray.method.reduction import FloatArray, LabelArray

SMALLEST, LARGEST = 1e-3, 1e2


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
    # Here, as in `fit_logistic`: a process that fits nothing does not load it.
    from scipy.optimize import brentq

    # Less the largest of its row, which changes no slope: no exponential is above 1.
    wide_NC = logits_NC.astype(np.float64)
    wide_NC -= wide_NC.max(axis=1, keepdims=True)
    right_N = wide_NC[np.arange(len(labels_N)), labels_N]

    def slope(log_t: float) -> float:
        """Of the objective, by ln t."""
        t = math.exp(log_t)
        exponentials_NC = np.multiply(wide_NC, t)
        np.exp(exponentials_NC, out=exponentials_NC)
        expected_N = np.einsum("nc,nc->n", exponentials_NC, wide_NC) / exponentials_NC.sum(axis=1)
        return t * float((expected_N - right_N).mean()) + log_t / (4 * len(labels_N))

    low, high = math.log(SMALLEST), math.log(largest)
    if slope(high) <= 0:
        return largest
    if slope(low) >= 0:
        return SMALLEST
    return math.exp(brentq(slope, low, high))
