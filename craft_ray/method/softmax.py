"""Softmax and its logarithm over classes, to the bit those of scipy.special (whose import costs
more than all that is computed with them)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def softmax(logits_NC: Array) -> Array:
    """Probabilities [N, C]; NaN in the row of a logit that is not finite."""
    exponentials_NC: Array = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    probabilities_NC: Array = exponentials_NC / exponentials_NC.sum(axis=1, keepdims=True)
    return probabilities_NC


def log_softmax(logits_NC: Array) -> Array:
    """Logarithms of the probabilities [N, C]."""
    largest_N1 = logits_NC.max(axis=1, keepdims=True)
    shifted_NC = logits_NC - np.where(np.isfinite(largest_N1), largest_N1, 0.0)
    with np.errstate(divide="ignore"):
        logs_NC: Array = shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))
    return logs_NC
