"""Labels for images by the classifiers that keys have tuned."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
from craft_ray.config.service import GivenAwayConfig
from craft_ray.data.dataset import Item
from craft_ray.inference.predictor import Predictor
from craft_ray.oracle.contract import Oracle
from craft_ray.service.tunings.pairs import pairs_of_classification

CLASSIFIERS_KEPT = 32
Probabilities = npt.NDArray[np.float64]


class Classifiers:
    """Those asked for last, loaded. Several threads may ask.

    Args:
        kept: at most so many; they are some megabytes each.
    """

    def __init__(self, kept: int = CLASSIFIERS_KEPT) -> None:
        self._kept = kept
        self._loaded: OrderedDict[Path, Artifact] = OrderedDict()
        self._lock = threading.Lock()

    def of_run(self, folder: Path) -> Artifact:
        """The classifier of a run that has succeeded; it does not change.

        Raises:
            ArtifactError: it is broken.
        """
        with self._lock:
            artifact = self._loaded.pop(folder, None)
            if artifact is None:
                artifact = Artifact.load(folder / RESULT_FOLDER)
            self._loaded[folder] = artifact
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)
            return artifact


def pairs_asked(artifact: Artifact, num_images: int) -> int:
    """What labels for so many images cost."""
    num_classes = len(artifact.task.class_names)
    return pairs_of_classification(artifact.classifier, num_classes, num_images)


def classify(artifact: Artifact, oracle: Oracle, images: Sequence[bytes]) -> Probabilities:
    """Probabilities of the classes, [N, C].

    Args:
        artifact: the classifier.
        oracle: the model it was tuned for; nobody else asks this client meanwhile.
        images: files that were checked.

    Raises:
        ArtifactError: the model is another one.
        OracleError: it cannot answer.
    """
    items = [Item(encoded, 0, f"images[{place}]") for place, encoded in enumerate(images)]
    parts = [batch.probabilities() for batch in Predictor(artifact, oracle).predict(items)]
    return np.concatenate(parts)


def labels_of(
    names: Sequence[str], probabilities_NC: Probabilities, gives: GivenAwayConfig
) -> list[dict[str, Any]]:
    """An object for each image, with no more of the probabilities than the owner gives away."""
    told = []
    for place, row_C in enumerate(probabilities_NC):
        order = np.argsort(-row_C, kind="stable")[: gives.top_k]
        shown = {names[label]: _rounded(float(row_C[label]), gives) for label in order}
        best = names[int(order[0])]
        told.append(
            {
                "object": "classification",
                "index": place,
                "label": best,
                "probability": shown[best],
                "probabilities": shown,
            }
        )
    return told


def _rounded(probability: float, gives: GivenAwayConfig) -> float:
    return probability if gives.decimals is None else round(probability, gives.decimals)
