"""What MLflow serves takes images from anybody: what is none is said by name."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from craft_ray.errors import DataError
from craft_ray.estimator.mlflow_loader import ServedClassifier

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
"""Pillow would start another program to draw it."""
BOMB = b"P6 60000 60000 255\n"


class NeverAsked:
    """Takes the images, and labels none."""

    classes_ = np.array(["cat", "dog"])

    def predict_proba(self, images: list[Any]) -> Any:
        raise AssertionError(images)


@pytest.mark.parametrize(
    "given",
    [
        POSTSCRIPT,
        BOMB,
        base64.b64encode(POSTSCRIPT).decode(),
        [[1, 2], [3]],
        np.array([[["a", "b", "c"]]]),
        np.full((2, 2, 3), 0.5),
        np.full((2, 2, 3), -1),
    ],
    ids=["postscript", "bomb", "base64", "ragged", "words", "shares", "negative"],
)
def test_what_is_no_image_is_refused(given: Any) -> None:
    served = ServedClassifier(NeverAsked())  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"X\[0\]: must be"):
        served.predict([given])
