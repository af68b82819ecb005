"""How good predictions are: accuracy, loss and calibration, of one image set or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import LabelArray

NUM_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Score:
    """How good predictions are on one image set.

    Attributes:
        accuracy: in [0, 1].
        loss: mean cross-entropy.
        calibration_error: expected calibration error over 15 equal bins of the highest
            probability, in [0, 1] (Guo et al., ICML 2017, equation 3).
    """

    accuracy: float
    loss: float
    calibration_error: float

    def is_better_than(self, other: Score) -> bool:
        """Higher accuracy; among equals the lower loss. A non-finite loss never wins."""
        if not (np.isfinite(self.loss) and np.isfinite(other.loss)):
            return bool(np.isfinite(self.loss))
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class ScoreCount:
    """A score in the making, from the images that were seen so far.

    Args:
        scored_classes: labels among which a prediction is chosen, ascending; None: all. Other
            classes are left out before the highest logit is looked for, and of the loss's softmax.
    """

    def __init__(self, scored_classes: Sequence[int] | None = None) -> None:
        self._scored = None if scored_classes is None else np.array(scored_classes, np.int64)
        self._num_images = 0
        self._num_correct = 0
        self._loss_sum = 0.0
        self._overconfidence_B = np.zeros(NUM_CALIBRATION_BINS)
        """Probability of the predicted class, less 1 where it was right, summed in each bin."""

    def add(self, logits_NC: FloatArray, labels_N: LabelArray) -> None:
        """Take in final logits [N, C] and labels [N], each one of the scored classes."""
        if self._scored is not None:
            logits_NC = logits_NC[:, self._scored]
            labels_N = np.searchsorted(self._scored, labels_N)
        self._num_images += len(labels_N)
        is_right_N = logits_NC.argmax(axis=1) == labels_N
        self._num_correct += int(is_right_N.sum())
        with np.errstate(invalid="ignore"):  # what is not finite gives an error of NaN
            confidence_N = softmax(logits_NC.astype(np.float64)).max(axis=1)
        bins_N = np.ceil(np.nan_to_num(confidence_N) * NUM_CALIBRATION_BINS).astype(int) - 1
        np.add.at(self._overconfidence_B, np.maximum(bins_N, 0), confidence_N - is_right_N)
        # `copy`: answers from the object store are read-only, which torch warns about.
        losses_N = F.cross_entropy(
            torch.from_numpy(logits_NC.copy()), torch.from_numpy(labels_N.copy()), reduction="none"
        )
        # In float64, so that the number of blocks does not show.
        self._loss_sum += float(losses_N.sum(dtype=torch.float64))

    @property
    def score(self) -> Score:
        """Of all images so far, of which there must be some."""
        return Score(
            self._num_correct / self._num_images,
            self._loss_sum / self._num_images,
            float(np.abs(self._overconfidence_B).sum()) / self._num_images,
        )


def score_together(scores: Sequence[Score], sizes: Sequence[int]) -> Score:
    """Of several image sets as one; the calibration error is the most that it can be."""
    total = sum(sizes)
    pairs = list(zip(scores, sizes, strict=True))
    # Counts are whole, so that equal ones stay equal.
    num_correct = sum(round(score.accuracy * size) for score, size in pairs)
    return Score(
        num_correct / total,
        sum(score.loss * size for score, size in pairs) / total,
        sum(score.calibration_error * size for score, size in pairs) / total,
    )


def score_logits(logits_NC: FloatArray, labels_N: LabelArray) -> Score:
    """Score final logits [N, C] against labels [N]."""
    count = ScoreCount()
    count.add(logits_NC, labels_N)
    return count.score
