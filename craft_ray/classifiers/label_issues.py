"""Labels that may be wrong, by what a classifier says of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Image = TypeVar("Image")
ROUNDING = 1e-6
"""A mean of equal numbers may be a little above them; cleanlab's own."""


@dataclass(frozen=True)
class LabelIssue(Generic[Image]):
    """A label that may be wrong.

    Attributes:
        image: as it was given.
        label: that it has.
        suggested: the class that it may be of.
        probability: of that class.
        of_label: probability of the label.
    """

    image: Image
    label: int
    suggested: int
    probability: float
    of_label: float


@dataclass(frozen=True)
class _Mistake(Generic[Image]):
    image: Image
    label: int
    probabilities_C: npt.NDArray[np.float32]


class LabelIssues(Generic[Image]):
    """Finds them by confident learning (Northcutt, Jiang & Chuang, JAIR 2021), as cleanlab's
    `find_label_issues(filter_by="confident_learning")` does.

    The threshold of a class is how likely the class is on average where it is the label. An image
    is taken for the class whose threshold it reaches; if it reaches several, for its likeliest
    class; if none, it says nothing. Its label is in doubt if that is another class, and the label
    is not its likeliest class either. The classifier must not have been fitted to many of the
    images, or it repeats their labels.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums_C = np.zeros(num_classes)
        self._counts_C = np.zeros(num_classes, dtype=np.int64)
        self._mistakes: list[_Mistake[Image]] = []

    def add(
        self,
        probabilities_NC: npt.NDArray[np.float64],
        labels_N: npt.NDArray[np.int64],
        images: Sequence[Image],
    ) -> None:
        """Take in some images. Those whose probabilities are not finite say nothing."""
        known_N = np.isfinite(probabilities_NC).all(axis=1)
        own_N = probabilities_NC[np.arange(len(labels_N)), labels_N]
        np.add.at(self._sums_C, labels_N[known_N], own_N[known_N])
        np.add.at(self._counts_C, labels_N[known_N], 1)
        said_N = probabilities_NC.argmax(axis=1)
        for place in np.flatnonzero(known_N & (said_N != labels_N)).tolist():
            # Which thresholds they reach is known when all images are: single precision is enough.
            probabilities_C = probabilities_NC[place].astype(np.float32)
            self._mistakes.append(_Mistake(images[place], int(labels_N[place]), probabilities_C))

    @property
    def found(self) -> list[LabelIssue[Image]]:
        """Those in doubt, the surest first. Of a class that is no image's label nothing is
        suggested: nobody knows how likely it is where it is right."""
        is_label_C = self._counts_C > 0
        thresholds_C = np.full(len(self._sums_C), np.inf)
        thresholds_C[is_label_C] = self._sums_C[is_label_C] / self._counts_C[is_label_C] - ROUNDING
        doubts = []
        for mistake in self._mistakes:
            probabilities_C, label = mistake.probabilities_C, mistake.label
            reached = np.flatnonzero(probabilities_C >= thresholds_C)
            suggested = int(np.where(is_label_C, probabilities_C, -1).argmax())
            taken_for_label = len(reached) == 1 and reached[0] == label
            if len(reached) and not taken_for_label and suggested != label:
                probability, own = probabilities_C[suggested], probabilities_C[label]
                doubts.append(
                    LabelIssue(mistake.image, label, suggested, float(probability), float(own))
                )
        return sorted(doubts, key=lambda issue: issue.of_label - issue.probability)
