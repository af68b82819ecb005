"""What stands beside a stored classifier for people: how it was made, and how good it is."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field

from craft_ray.classifiers.score import Score
from craft_ray.config.base import Settings
from craft_ray.data.transform import ImageTransform
from craft_ray.oracle.contract import OracleDescription

PLAIN_VIEW = ImageTransform(224).describe()
"""What artefacts that say nothing mean: the view of CLIP's own transform."""

SENT_AS_FILE = (
    "sent as its own file (as PNG, if it is no JPEG); the endpoint decodes and resizes it"
)
"""How an endpoint is asked: `craft_ray.data.encoded.plain_files`."""


def plain_view(transform: ImageTransform) -> str:
    """How an image becomes what the model is asked about: `craft_ray.data.pixels.plain_pixels`."""
    return transform.describe()


class Measured(Settings):
    """A score, with how sure the accuracy is."""

    images: int = Field(ge=1)
    accuracy: float
    low: float
    """Of the 95 % interval of the accuracy."""
    high: float
    loss: float | None = None
    """Mean cross-entropy; None where it is not finite."""
    calibration_error: float | None = None

    @classmethod
    def of(cls, score: Score, images: int) -> Self:
        """A score that was counted on so many images."""
        # Here: scipy's statistics are not for every process that loads a classifier.
        from craft_ray.classifiers.interval import accuracy_interval

        low, high = accuracy_interval(score.accuracy, images)
        return cls(
            images=images,
            accuracy=score.accuracy,
            low=low,
            high=high,
            loss=score.loss if math.isfinite(score.loss) else None,
            calibration_error=(
                score.calibration_error if math.isfinite(score.calibration_error) else None
            ),
        )


class About(Settings):
    """Nothing here is needed to predict; all of it is signed with the classifier."""

    created: str = ""
    """UTC, ISO 8601."""
    run: str = ""
    seed: int | None = None
    method: str = ""
    data: str = ""
    """Name of the data set."""
    num_train: int = 0
    manifest: str = ""
    """Content address of the training images; see `craft_ray.task.provenance.manifest`."""
    source: str = ""
    """Where the weights of the model come from."""
    revision: str | None = None
    computed_by: str = ""
    """Device and libraries that the answers came from."""
    image_size: int | None = None
    image_mean: tuple[float, ...] = ()
    """Of the normalisation, which the model's side does."""
    image_std: tuple[float, ...] = ()
    view: str = PLAIN_VIEW
    zero_shot_validation: Measured | None = None
    validation: Measured | None = None
    held_out: Measured | None = None
    """On the training images, each under a head that was not fitted to it; only where there were
    no validation images."""
    zero_shot_held_out: Measured | None = None
    """On the same images."""
    verdict: str = ""
    """What decided where there were no validation images, in a sentence."""
    findings: tuple[str, ...] = ()
    """What fitting the head found out, such as classes without a labelled image; sentences."""
    zero_shot_test: Measured | None = None
    test: Measured | None = None
    candidate_queries: int | None = None
    """Of the whole run: all trials of a search."""
    image_predictions: int | None = None
    cost: float | None = None
    currency: str = ""
    """Of the cost, where an endpoint bills; empty: that of the price of a prediction."""
    price_per_thousand_predictions: float | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    """Of craft-ray, where it runs from a git checkout; `-dirty` if files differ from it."""

    def other_images(self, oracle: OracleDescription) -> str:
        """What this model wants of images that the tuned one did not, in words; empty where nothing
        is known to differ."""
        now = {
            "view": plain_view(oracle.transform),
            "image_size": oracle.image_size,
            "image_mean": oracle.image_mean,
            "image_std": oracle.image_std,
        }
        then = {name: getattr(self, name) for name in now}
        differing = [
            f"{name} was {then[name]} and is {value}"
            for name, value in now.items()
            if then[name] and value and then[name] != value
        ]
        if oracle.takes_files or not differing:
            return ""
        return f"{'; '.join(differing)} (oracle.resize_mode, interpolation, image_mean, image_std)"
