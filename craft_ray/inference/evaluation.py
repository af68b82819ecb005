"""How good a classifier is on labelled images, with how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from craft_ray.classifiers.confusion import (
    ClassEvaluation,
    ConfidenceBin,
    bin_sums,
    class_evaluations,
    confidence_bins,
)
from craft_ray.classifiers.interval import accuracy_interval
from craft_ray.classifiers.label_issues import LabelIssue, LabelIssues
from craft_ray.classifiers.score import NUM_CALIBRATION_BINS, Score, ScoreCount
from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.dataset import Item
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.data.sources.instead import instead_in
from craft_ray.data.sources.listing import (
    class_folders,
    composed,
    image_files,
    images_directly_in,
    labelled,
)
from craft_ray.errors import DataError
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import FloatArray

NAMED_AT_MOST = 5
MISTAKES_KEPT = 24


@dataclass(frozen=True)
class Evaluation:
    """Of all images.

    Attributes:
        images: how many.
        score: accuracy, loss and calibration.
        interval: of the accuracy, 95 %.
        classes: in the classifier's order.
    """

    images: int
    score: Score
    interval: tuple[float, float]
    classes: tuple[ClassEvaluation, ...]


def labelled_images(
    root: Path, class_names: Sequence[str], passed_over: PassedOver | None = None
) -> list[Item]:
    """`root/<class>/<image>`, also in folders below; classes without images may be missing.

    Args:
        root: the folder.
        class_names: of the classifier.
        passed_over: counts the images that are not read.

    Raises:
        DataError: a folder is no class of the classifier, or there is no image.
    """
    labels = {composed(name): label for label, name in enumerate(class_names)}
    items: list[Item] = []
    for name in class_folders(root):
        if composed(name) not in labels:
            raise DataError(
                f"{root / name}: must be a class of the run ({some_of(class_names)}), but is none"
                f"{_split_within(root / name, labels) or did_you_mean(name, labels)}"
            )
        items += labelled(image_files(root / name, passed_over), labels[composed(name)])
    if not items:
        raise DataError(
            f"{root}: must have class folders with images, but has none{instead_in(root)}"
        )
    if passed_over is not None:
        passed_over.beside += images_directly_in(root)
    return items


def some_of(class_names: Sequence[str]) -> str:
    """The names of the first few, for a message, and how many there are."""
    others = " ..." * (len(class_names) > NAMED_AT_MOST)
    return f"{len(class_names):,}: {', '.join(class_names[:NAMED_AT_MOST])}{others}"


def _split_within(folder: Path, labels: Mapping[str, int]) -> str:
    """The end of a message about a folder with classes in it, such as `test`; else empty."""
    if not labels.keys() & set(class_folders(folder)):
        return ""
    return f" itself: name the folder that has the classes, such as {folder}"


@dataclass(frozen=True)
class Mistake:
    """An image that was labelled wrongly, and how sure that was.

    Attributes:
        item: the image, with its label.
        predicted: the class that was said.
        probability: of that.
    """

    item: Item
    predicted: int
    probability: float


class EvaluationCount:
    """An evaluation in the making."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self._sums_3B = np.zeros((3, NUM_CALIBRATION_BINS))
        """Of each bin: images, their confidences, those that were right."""
        self.mistakes: list[Mistake] = []
        """The surest ones, the surest first."""
        self._score = ScoreCount()
        self._issues: LabelIssues[Item] = LabelIssues(len(class_names))
        self._confusion_CC = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
        """Rows are true classes."""

    @property
    def num_images(self) -> int:
        """So far."""
        return int(self._confusion_CC.sum())

    def add(self, logits_NC: FloatArray, items: Sequence[Item]) -> None:
        """Take in final logits of some images, which know their labels."""
        if not items:
            return
        labels_N = np.array([item.label for item in items], dtype=np.int64)
        said_N = logits_NC.argmax(axis=1)
        self._score.add(logits_NC, labels_N)
        np.add.at(self._confusion_CC, (labels_N, said_N), 1)
        with np.errstate(invalid="ignore"):  # what is not finite is sure of nothing
            probabilities_NC = softmax(logits_NC.astype(np.float64))
            sure_N = np.nan_to_num(probabilities_NC.max(axis=1))
        self._issues.add(probabilities_NC, labels_N, items)
        self._sums_3B += bin_sums(sure_N, said_N == labels_N)
        wrong = [
            Mistake(items[place], int(said_N[place]), float(sure_N[place]))
            for place in np.flatnonzero(said_N != labels_N).tolist()
        ]
        ranked = sorted([*self.mistakes, *wrong], key=lambda each: -each.probability)
        self.mistakes = ranked[:MISTAKES_KEPT]

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Images of each true class (row) that were said to be of each class (column)."""
        return self._confusion_CC

    @property
    def confidence_bins(self) -> list[ConfidenceBin | None]:
        """In ascending order; None for those without an image."""
        return confidence_bins(self._sums_3B)

    @property
    def label_issues(self) -> list[LabelIssue[Item]]:
        """Labels that may be wrong, the surest first."""
        return self._issues.found

    @property
    def evaluation(self) -> Evaluation:
        """Of what was taken in, which must be something."""
        classes = class_evaluations(self.class_names, self._confusion_CC)
        total = self.num_images
        score = self._score.score
        return Evaluation(total, score, accuracy_interval(score.accuracy, total), classes)
