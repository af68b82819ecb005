"""A linear probe on image features: what the features know, prompts apart.

As in CLIP's paper (Radford et al. 2021, section 3.2): logistic regression by L-BFGS, its penalty
chosen on validation data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from craft_ray.classifiers.score import Score, score_logits
from craft_ray.errors import ConfigError
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads.linear import LinearHead
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle
from craft_ray.task.prepared import LabelledImages, PreparedTask

INVERSE_PENALTIES = tuple(float(c) for c in np.logspace(-3, 6, 19))
MAX_ITERATIONS = 5000


@dataclass(frozen=True)
class LinearProbe:
    """Logits from features; implements `Classifier`."""

    head: LinearHead
    """Of the features."""

    def predict(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        return self.head(oracle.embed_images(images, purpose="white_box"))


def fit_linear_probe(oracle: MeteredOracle, prepared: PreparedTask) -> tuple[LinearProbe, Score]:
    """The probe of the plain training images that validates best, and its validation score.

    Raises:
        ConfigError: there are no validation images.
        OracleError: the oracle gives no features.
    """
    if prepared.validation is None:
        problem = "must be full or few_shot for a linear probe on features, but got none"
        raise ConfigError("data.validation", [f"{problem}: its penalty is chosen on them"])
    train_NF = oracle.embed_images(prepared.fitness.handle, purpose="white_box")
    validation_NF = oracle.embed_images(prepared.validation.handle, purpose="white_box")
    best: tuple[LinearProbe, Score] | None = None
    for inverse_penalty in INVERSE_PENALTIES:
        probe = _fit(train_NF, prepared.fitness, inverse_penalty, prepared.task.num_classes)
        score = score_logits(probe.head(validation_NF), prepared.validation.labels_N)
        if best is None or score.is_better_than(best[1]):
            best = probe, score
    assert best is not None
    return best


def _fit(
    features_NF: FloatArray, images: LabelledImages, inverse_penalty: float, num_classes: int
) -> LinearProbe:
    model = LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS)
    model.fit(features_NF, images.labels_N)
    coefficients: npt.NDArray[np.float64] = model.coef_
    intercepts: npt.NDArray[np.float64] = model.intercept_
    if num_classes == 2:  # scikit-learn then gives the second class's row only
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    head = LinearHead(coefficients.T.astype(np.float32), intercepts.astype(np.float32))
    return LinearProbe(head)
