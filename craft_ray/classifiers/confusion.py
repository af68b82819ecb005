"""What is counted of labelled predictions beside their score: classes, confusions, confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from craft_ray.classifiers.score import NUM_CALIBRATION_BINS

CountArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassEvaluation:
    """Of one class; None where nothing can be said.

    Attributes:
        name: of the class.
        images: that have it.
        predicted: images that are said to have it.
        recall: share of its images that are recognised.
        precision: share of what is said to have it that has.
    """

    name: str
    images: int
    predicted: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class ConfidenceBin:
    """Images whose highest probability lies in a range.

    Attributes:
        images: how many.
        confidence: mean of these probabilities.
        accuracy: share that was right.
    """

    images: int
    confidence: float
    accuracy: float


def confusion_of(labels_N: CountArray, said_N: CountArray, num_classes: int) -> CountArray:
    """Images of each true class (row) that were said to be of each class (column)."""
    confusion_CC = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion_CC, (labels_N, said_N), 1)
    return confusion_CC


def class_evaluations(
    names: Sequence[str], confusion_CC: CountArray
) -> tuple[ClassEvaluation, ...]:
    """Of each class, in the order of the confusions."""
    right_C = confusion_CC.diagonal()
    images_C, predicted_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    return tuple(
        ClassEvaluation(
            name,
            int(images),
            int(predicted),
            int(right) / int(images) if images else None,
            int(right) / int(predicted) if predicted else None,
        )
        for name, right, images, predicted in zip(
            names, right_C, images_C, predicted_C, strict=True
        )
    )


def bin_sums(
    sure_N: npt.NDArray[np.float64], is_right_N: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Of each of the B bins of confidence: images, the sum of their confidences, and how many were
    right; [3, B]. Sums of several blocks may be added."""
    sums_3B = np.zeros((3, NUM_CALIBRATION_BINS))
    bins_N = np.clip(np.ceil(sure_N * NUM_CALIBRATION_BINS).astype(int) - 1, 0, None)
    for row_B, values_N in zip(sums_3B, (np.ones_like(sure_N), sure_N, is_right_N), strict=True):
        np.add.at(row_B, bins_N, values_N)
    return sums_3B


def confidence_bins(sums_3B: npt.NDArray[np.float64]) -> list[ConfidenceBin | None]:
    """From `bin_sums`, in ascending order; None for those without an image."""
    return [
        ConfidenceBin(int(images), confidence / images, right / images) if images else None
        for images, confidence, right in sums_3B.T.tolist()
    ]
