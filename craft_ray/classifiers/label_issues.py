"""Labels that may be wrong, by what a classifier says of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Image = TypeVar("Image")
ROUNDING = 1e-9
"""A mean of equal numbers may be a little above them."""


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


class LabelIssues(Generic[Image]):
    """Finds them by confident learning (Northcutt, Jiang & Chuang, JAIR 2021): a label is in doubt
    if another class is the likeliest, and at least as likely as that class is on average where it
    is the label. The classifier should not have been fitted to many of the images.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self._sums_C = np.zeros(num_classes)
        self._counts_C = np.zeros(num_classes, dtype=np.int64)
        self._mistakes: list[LabelIssue[Image]] = []

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
            said = int(said_N[place])
            probability = float(probabilities_NC[place, said])
            issue = LabelIssue(
                images[place], int(labels_N[place]), said, probability, float(own_N[place])
            )
            self._mistakes.append(issue)

    @property
    def found(self) -> list[LabelIssue[Image]]:
        """Those in doubt, the surest first. Of a class that is no image's label nothing is
        suggested: nobody knows how likely it is where it is right."""
        means_C = self._sums_C / np.maximum(self._counts_C, 1) - ROUNDING
        doubts = [
            issue
            for issue in self._mistakes
            if self._counts_C[issue.suggested] and issue.probability >= means_C[issue.suggested]
        ]
        return sorted(doubts, key=lambda issue: issue.of_label - issue.probability)
