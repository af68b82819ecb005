"""The product of a fine-tuning: a context and a refinement head, usable with any client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.method.head import RefinementHead
from craft_ray.oracle.contract import FloatArray, ImageHandle, TaskHandle
from craft_ray.training.metered import MeteredOracle
from craft_ray.training.task import LabelArray

HeadWeights = Mapping[str, FloatArray]


class Classifier(Protocol):
    """Anything that can be examined."""

    def predict(self, oracle: MeteredOracle, task: TaskHandle, images: ImageHandle) -> FloatArray:
        """Final logits of registered images, float32 [N, C]; counted as an evaluation."""
        ...


@dataclass(frozen=True)
class TunedClassifier:
    """What is deployed: predictions are `head(logits of context)`. Implements `Classifier`.

    Attributes:
        context_LE: float32 [L, E].
        head: the weights of a `RefinementHead`, or None for raw logits.
    """

    context_LE: FloatArray
    head: HeadWeights | None

    @classmethod
    def capture(cls, context_LE: FloatArray, head: RefinementHead | None) -> TunedClassifier:
        """Copy the present state of a training."""
        if head is None:
            return cls(context_LE.copy(), None)
        return cls(context_LE.copy(), head.weights())

    def predict(self, oracle: MeteredOracle, task: TaskHandle, images: ImageHandle) -> FloatArray:
        """See `Classifier`."""
        contexts_KLE = self.context_LE[None]
        return self.refine(oracle.predict(task, images, contexts_KLE, purpose="evaluation")[0])

    def refine(self, logits_NC: FloatArray) -> FloatArray:
        """Final logits, [N, C], from the oracle's logits under `context_LE`."""
        if self.head is None:
            return logits_NC
        head = RefinementHead.from_weights(self.head)
        with torch.inference_mode():
            refined: FloatArray = head(torch.from_numpy(logits_NC.copy())).numpy()
        return refined


@dataclass(frozen=True)
class Score:
    """Accuracy in [0, 1] and mean cross-entropy on one image set."""

    accuracy: float
    loss: float

    def is_better_than(self, other: Score) -> bool:
        """Higher accuracy; among equals the lower loss. A non-finite loss never wins."""
        if not np.isfinite(self.loss):
            return False
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

    def add(self, logits_NC: FloatArray, labels_N: LabelArray) -> None:
        """Take in final logits [N, C] and labels [N], each one of the scored classes."""
        if self._scored is not None:
            logits_NC = logits_NC[:, self._scored]
            labels_N = np.searchsorted(self._scored, labels_N)
        self._num_images += len(labels_N)
        self._num_correct += int((logits_NC.argmax(axis=1) == labels_N).sum())
        # `copy`: answers from the object store are read-only, which torch warns about.
        losses_N = F.cross_entropy(
            torch.from_numpy(logits_NC.copy()), torch.from_numpy(labels_N.copy()), reduction="none"
        )
        # In float64, so that the number of blocks does not show.
        self._loss_sum += float(losses_N.sum(dtype=torch.float64))

    @property
    def score(self) -> Score:
        """Of all images so far, of which there must be some."""
        return Score(self._num_correct / self._num_images, self._loss_sum / self._num_images)


def score_logits(logits_NC: FloatArray, labels_N: LabelArray) -> Score:
    """Score final logits [N, C] against labels [N]."""
    count = ScoreCount()
    count.add(logits_NC, labels_N)
    return count.score
