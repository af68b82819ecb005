"""Which zero-shot logits a head starts from, by the labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from craft_ray.method.heads.scale import zero_shot_scale
from craft_ray.method.reduction import FloatArray, LabelArray
from craft_ray.method.softmax import log_softmax


@dataclass(frozen=True)
class ChosenOffset:
    """The best of some.

    Attributes:
        name: of it.
        losses: of all, on the labelled images; none where there are no such images.
    """

    name: str
    losses: Mapping[str, float]


def choose_offset(
    logits_NC: Mapping[str, FloatArray], labels_N: LabelArray, otherwise: str
) -> ChosenOffset:
    """The one under which the labels are likeliest, each with the factor by which it would be
    trusted (`zero_shot_scale`); the first of equal ones. Nothing is fitted to the images but that
    factor, so that the choice among a few costs next to nothing of what held-out images tell.

    Args:
        logits_NC: of the plain labelled images, by the name of the offset.
        labels_N: their classes.
        otherwise: the name of what is taken where there are no images.
    """
    if len(labels_N) == 0:
        return ChosenOffset(otherwise, {})
    losses = {name: _loss(each_NC, labels_N) for name, each_NC in logits_NC.items()}
    return ChosenOffset(min(losses, key=lambda name: losses[name]), losses)


def _loss(logits_NC: FloatArray, labels_N: LabelArray) -> float:
    """Among the classes that have a label: of the others these images say nothing."""
    classes_L, places_N = np.unique(labels_N, return_inverse=True)
    known_NL = logits_NC[:, classes_L]
    scale = zero_shot_scale(known_NL, places_N)
    logs_NL = log_softmax(scale * known_NL.astype(np.float64))
    return float(-logs_NL[np.arange(len(places_N)), places_N].mean())
