"""What is known of a state from images that it was not fitted to, and which of several is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from craft_ray.classifiers.score import Score, score_together
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import LabelArray

CLEAR = 0.025
"""One state is clearly better on the same images if chance alone would favour it as much as it is
favoured with at most this probability: two standard errors, on one side."""
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True)
class Evidence:
    """Scores on images that what is scored was not fitted to."""

    validation: Score | None
    """None: there are no validation images."""
    held_out: Score | None = None
    """On the training images, each under a head that saw no view of it; None unless everything that
    was fitted to them is cross-validated."""
    right: str = ""
    """Which validation images are predicted rightly, from `right_images`; empty if not known."""
    zero_shot_held_out: Score | None = None
    """Zero-shot's on the images of `held_out`."""

    @property
    def deciding(self) -> Score | None:
        """What a person is told: on validation; without validation images on held-out training
        images; None where neither is known."""
        return self.validation or self.held_out


def right_images(logits_NC: FloatArray, labels_N: LabelArray) -> str:
    """One bit an image, packed to bytes, in hexadecimal digits; bits after the last are 0."""
    return np.packbits(logits_NC.argmax(axis=1) == labels_N).tobytes().hex()


def best_evidence(evidence: Sequence[Evidence], num_validation: int, num_training: int) -> int:
    """The place of the best; of equal ones, the first. There must be one.

    What does not have a finite loss comes last. Where all others were held out on training images,
    first those are left out which another one clearly denies on the validation images, as these may
    show another world than the training images; of the rest, the best on all images together is
    taken. Else validation alone counts. Neither depends on the order.

    Without validation images the held-out training images decide. Where nothing was held out for
    one of them, nothing tells which is better: it is the last one, which was tuned the longest.
    """
    if not num_validation:
        return _best_held_out(evidence)
    validated = [
        (place, each.validation)
        for place, each in enumerate(evidence)
        if each.validation is not None
    ]
    places = [place for place, score in validated if math.isfinite(score.loss)]
    if not places:
        return 0
    scores = {place: score for place, score in validated if place in places}
    held_out = {place: evidence[place].held_out for place in places}
    known = {place: score for place, score in held_out.items() if score is not None}
    if len(known) == len(places):
        sizes = (num_validation, num_training)
        rights = {place: evidence[place].right for place in places}
        scores = {
            place: score_together((scores[place], known[place]), sizes)
            for place in places
            if not any(is_clearly_better(rights[other], rights[place]) for other in places)
        }
    return max(sorted(scores), key=lambda place: _rank(scores[place]))


def _best_held_out(evidence: Sequence[Evidence]) -> int:
    known = [each.held_out for each in evidence if each.held_out is not None]
    if len(known) < len(evidence):
        return len(evidence) - 1
    return max(range(len(known)), key=lambda place: _rank(known[place]))


def _rank(score: Score) -> tuple[bool, float, float]:
    """Higher is better. Every two scores can be compared, also where losses are not finite: else
    the best would depend on the order."""
    is_finite = math.isfinite(score.loss)
    return is_finite, score.accuracy, -score.loss if is_finite else 0.0


def is_clearly_better(one: str, other: str) -> bool:
    """Whether of two states on the same images the first is right more often than chance explains:
    an exact test of the images that only one of them predicts rightly (McNemar).

    Args:
        one, other: from `right_images`; nothing is clear if either is not known.
    """
    if not one or not other:
        return False
    one_N = np.unpackbits(np.frombuffer(bytes.fromhex(one), np.uint8))
    other_N = np.unpackbits(np.frombuffer(bytes.fromhex(other), np.uint8))
    if len(one_N) != len(other_N):
        raise ValueError(f"right: must be of the same images, but {len(one_N)} != {len(other_N)}")
    return chance_of(int((one_N > other_N).sum()), int((one_N < other_N).sum())) <= CLEAR


def chance_of(wins: int, losses: int) -> float:
    """Probability of at least so many wins of `wins + losses` fair coins; 1 unless they prevail."""
    games = wins + losses
    if wins <= losses:
        return 1.0
    log_chance = math.lgamma(games + 1) - math.lgamma(wins + 1) - math.lgamma(losses + 1)
    term = math.exp(log_chance - games * math.log(2))
    total = term
    for count in range(wins, games):
        term *= (games - count) / (count + 1)
        total += term
        if term < _NEGLIGIBLE:
            break
    return total
