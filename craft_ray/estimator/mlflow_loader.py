"""What MLflow runs to load a craft-ray classifier that it keeps as a model (`mlflow.pyfunc`)."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from craft_ray.data.decoding import open_image
from craft_ray.errors import DataError
from craft_ray.estimator.classifier import CraftClassifier
from craft_ray.tracking.model_columns import LABEL, PROBABILITY, column_of

if TYPE_CHECKING:
    import pandas as pd


def _load_pyfunc(folder: str) -> ServedClassifier:
    """Load the classifier in `folder` and the model that it was tuned for.

    Raises:
        UserError: one of them cannot be loaded.
    """
    return ServedClassifier(CraftClassifier.load(folder))


class ServedClassifier:
    """Predicts as MLflow asks for it.

    Args:
        classifier: ready to predict.
    """

    def __init__(self, classifier: CraftClassifier) -> None:
        self._classifier = classifier

    def predict(self, images: Any, params: Any = None) -> pd.DataFrame:
        """Label, its probability and the probability of each class, a row an image.

        Args:
            images: what MLflow makes of what was given: a table whose first column has an image a
                row. An image is a path, the content of a file as bytes or as base64 text, uint8
                [H, W, 3] as an array or as nested lists, or an image of Pillow.
            params: not used.

        Raises:
            DataError: one is no image, or there is none.
        """
        import pandas as pd

        given = images.iloc[:, 0].tolist() if isinstance(images, pd.DataFrame) else images
        probabilities_NC = self._classifier.predict_proba(list(_images_in(given)))
        names = [str(name) for name in self._classifier.classes_]
        best_N = probabilities_NC.argmax(axis=1)
        table = {
            LABEL: [names[best] for best in best_N],
            PROBABILITY: probabilities_NC.max(axis=1),
            **{column_of(name): probabilities_NC[:, c] for c, name in enumerate(names)},
        }
        return pd.DataFrame(table)


def _images_in(given: Any) -> Iterator[Any]:
    """One by one, as `CraftClassifier` takes them."""
    if isinstance(given, str | bytes | os.PathLike):
        given = [given]
    for number, each in enumerate(given):
        if isinstance(each, list | tuple) and each and isinstance(each[0], str | bytes):
            yield from _images_in(each)  # MLflow puts a list of a mapping into one row
        else:
            yield _image(each, number)


def _image(given: Any, number: int) -> Any:
    if isinstance(given, str):
        if _is_file(given):
            return given
        try:
            given = base64.b64decode(given.partition("base64,")[2] or given, validate=True)
        except (binascii.Error, ValueError):
            return given  # a path that is not there, which is said by name
    if isinstance(given, bytes | bytearray):
        try:
            return open_image(io.BytesIO(given))
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
            raise DataError(f"X[{number}]: must be an image, but: {error}") from error
    if isinstance(given, list | np.ndarray):
        try:
            pixels = np.asarray(given)
        except ValueError as error:  # rows of different lengths
            raise DataError(f"X[{number}]: must be uint8 [H, W, 3], but: {error}") from error
        fits = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype.kind in "biuf"
        if not fits or not np.array_equal(pixels, pixels.astype(np.uint8)):
            raise DataError(
                f"X[{number}]: must be uint8 [H, W, 3], but got {pixels.dtype} {list(pixels.shape)}"
            )
        return Image.fromarray(pixels.astype(np.uint8))
    return given


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name: base64
        return False
