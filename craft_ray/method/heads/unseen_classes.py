"""Heads for tasks of which some classes have no labelled image.

A head that is fitted to all classes learns that no image is of such a class. Here it is fitted to
the classes that have labels, as if there were no others, and the others keep their zero-shot logits
t l. What is open is how the corrections of the ones compare with those of the others, which are
none. With unlabelled images corrections have mean zero on these. Else, where images were held out,
the labelled classes are shifted together, on the average to the probability that zero-shot gives
them all: by t of the way, so as far as zero-shot is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from craft_ray.method.reduction import FloatArray

Weights = tuple[torch.Tensor, torch.Tensor]
"""Of points, [R, C], and bias [C]."""


def spread(weights: Weights, classes: Sequence[int], num_classes: int) -> Weights:
    """Weights of some classes among those of all; the others have none."""
    weight_RL, bias_L = weights
    weight_RC = weight_RL.new_zeros(len(weight_RL), num_classes)
    bias_C = bias_L.new_zeros(num_classes)
    weight_RC[:, classes], bias_C[classes] = weight_RL, bias_L
    return weight_RC, bias_C


def centred_on(points_UR: torch.Tensor, weights: Weights) -> Weights:
    """With biases for which the mean over the points is zero in every class."""
    weight_RC, _ = weights
    return weight_RC, -(points_UR.mean(dim=0) @ weight_RC)


def shift_to_zero_shot(
    zero_shot_NC: FloatArray, final_NC: FloatArray, classes: Sequence[int]
) -> float:
    """What has to be added to the final logits of these classes.

    Args:
        zero_shot_NC: t l, of the same scale.
        final_NC: by heads that did not see the images.
        classes: that have labels.
    """
    return float((_log_mass(zero_shot_NC, classes) - _log_mass(final_NC, classes)).mean())


def _log_mass(logits_NC: FloatArray, classes: Sequence[int]) -> FloatArray:
    """Logarithm of the sum of the exponentials, [N]."""
    mass_N: FloatArray = np.logaddexp.reduce(logits_NC[:, classes], axis=1)
    return mass_N
