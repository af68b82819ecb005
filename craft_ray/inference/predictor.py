"""A tuned classifier with the model that it asks, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.oracle import OracleConfig
from craft_ray.data.dataset import Item
from craft_ray.data.pixels import plain_pixels
from craft_ray.errors import DataError
from craft_ray.method.softmax import softmax
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import FloatArray, Oracle
from craft_ray.oracle.devices import best_device

IMAGES_AT_A_TIME = 256
"""Decoded images in memory; 150 KB each at 224 pixels."""


@dataclass(frozen=True)
class Batch:
    """What was said of some images.

    Attributes:
        items: those that could be read.
        logits_NC: of them, float32, from which scores are counted.
        unreadable: why others could not.
    """

    items: Sequence[Item]
    logits_NC: FloatArray
    unreadable: Sequence[str]

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of the classes, [N, C]."""
        return softmax(self.logits_NC.astype(np.float64))


class Predictor:
    """Labels images as the classifier was tuned to: the same view of an image, the same prompts,
    the same head.

    Args:
        artifact: the classifier.
        oracle: the model it was tuned for, in any precision.

    Raises:
        ArtifactError: the oracle has other weights.
    """

    def __init__(self, artifact: Artifact, oracle: Oracle) -> None:
        artifact.check_oracle(oracle.describe(), any_precision=True)
        self.artifact = artifact
        self._oracle = oracle

    @classmethod
    def load(cls, artifact: Artifact, config: OracleConfig) -> Self:
        """Load the model, on a GPU if there is one.

        Raises:
            OracleError: the model cannot be loaded.
            ArtifactError: it has other weights.
        """
        return cls(artifact, ClipOracle.load(config, best_device()))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.artifact.task.class_names

    @property
    def predictions_per_image(self) -> int:
        """Contexts that each image is asked about: what a metered model would bill."""
        return len(self.artifact.classifier.asked_contexts())

    def predict(self, items: Sequence[Item]) -> Iterator[Batch]:
        """All images, some at a time; images that cannot be read are named and passed over."""
        size = self._oracle.describe().image_size
        for start in range(0, len(items), IMAGES_AT_A_TIME):
            part = items[start : start + IMAGES_AT_A_TIME]
            unreadable: list[str] = []
            try:
                pixels = plain_pixels(part, size)
            except DataError:
                part, unreadable = _readable(part, size)
                if not part:
                    nothing = np.empty((0, len(self.class_names)), np.float32)
                    yield Batch([], nothing, unreadable)
                    continue
                pixels = plain_pixels(part, size)
            images = self._oracle.register_images(pixels, keep=False)
            logits_NC = self.artifact.predict(self._oracle, images, any_precision=True)
            yield Batch(part, logits_NC, unreadable)


def _readable(items: Sequence[Item], size: int) -> tuple[list[Item], list[str]]:
    readable, reasons = [], []
    for item in items:
        try:
            plain_pixels([item], size)
            readable.append(item)
        except DataError as error:
            reasons.append(str(error))
    return readable, reasons
