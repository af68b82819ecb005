"""How good a classifier is on labelled images, with how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from craft_ray.classifiers.interval import accuracy_interval
from craft_ray.classifiers.score import Score, ScoreCount
from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.dataset import Item
from craft_ray.data.sources.listing import class_folders, image_files, labelled
from craft_ray.errors import DataError
from craft_ray.oracle.contract import FloatArray


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


def labelled_images(root: Path, class_names: Sequence[str]) -> list[Item]:
    """`root/<class>/<image>`; classes without images may be missing.

    Raises:
        DataError: a folder is no class of the classifier, or there is no image.
    """
    labels = {name: label for label, name in enumerate(class_names)}
    items: list[Item] = []
    for name in class_folders(root):
        if name not in labels:
            raise DataError(
                f"{root / name}: must be a class of the run ({len(labels)} of them: "
                f"{', '.join(list(labels)[:5])} ...), but is none{did_you_mean(name, labels)}"
            )
        items += labelled(image_files(root / name), labels[name])
    if not items:
        raise DataError(f"{root}: must have class folders with images, but has none")
    return items


class EvaluationCount:
    """An evaluation in the making."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._score = ScoreCount()
        self._confusion_CC = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
        """Rows are true classes."""

    @property
    def num_images(self) -> int:
        """So far."""
        return int(self._confusion_CC.sum())

    def add(self, logits_NC: FloatArray, labels: Sequence[int]) -> None:
        """Take in some images."""
        if not labels:
            return
        labels_N = np.array(labels, dtype=np.int64)
        self._score.add(logits_NC, labels_N)
        np.add.at(self._confusion_CC, (labels_N, logits_NC.argmax(axis=1)), 1)

    @property
    def evaluation(self) -> Evaluation:
        """Of what was taken in, which must be something."""
        right_C = self._confusion_CC.diagonal()
        images_C, predicted_C = self._confusion_CC.sum(axis=1), self._confusion_CC.sum(axis=0)
        classes = tuple(
            ClassEvaluation(
                name,
                int(images),
                int(predicted),
                int(right) / int(images) if images else None,
                int(right) / int(predicted) if predicted else None,
            )
            for name, right, images, predicted in zip(
                self._class_names, right_C, images_C, predicted_C, strict=True
            )
        )
        total = self.num_images
        score = self._score.score
        return Evaluation(total, score, accuracy_interval(score.accuracy, total), classes)


def show_evaluation(evaluation: Evaluation, console: Console) -> None:
    """For a human: one line, and a table of the classes, the worst first."""
    (low, high), score = evaluation.interval, evaluation.score
    console.print(
        f"Accuracy {score.accuracy:.1%} (95 %: {low:.1%} to {high:.1%}) on "
        f"{evaluation.images:,} images; calibration error {score.calibration_error:.3f}.",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("class", box=box.SIMPLE_HEAD)
    for column in ("images", "recall", "precision"):
        table.add_column(column, justify="right")
    classes = [each for each in evaluation.classes if each.images or each.predicted]
    for each in sorted(classes, key=lambda each: 1.0 if each.recall is None else each.recall):
        shares = [each.recall, each.precision]
        cells = ["-" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(escape(each.name), f"{each.images:,}", *cells)
    console.print(table)
