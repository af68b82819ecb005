"""The factor that makes logits of cosines, for an oracle that does not say which one it has.

Fitted once, on the zero-shot answers about the training images; no label of another image is looked
at. Everybody who tunes on the task shares it.
"""

from __future__ import annotations

from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.endpoints.scores import fit_temperature
from craft_ray.task.prepared import LabelArray, PreparedTask, TaskTemperature

LARGEST = 100.0
"""CLIP's own training allows no larger one; and few images that are all predicted rightly would fit
any."""
SMALLEST = 1.0
"""So that what differs in a logit stays above the noise of float32."""


def ask_temperature(oracle: MeteredOracle, prepared: PreparedTask) -> TaskTemperature:
    """Ask zero-shot about the training images, each of which counts as a prediction for the head,
    and fit the factor. Without training images nothing is asked, and it is 100.

    Raises:
        OracleError: as `MeteredOracle.predict`.
    """
    images = prepared.fitness
    if not prepared.has_training:
        return TaskTemperature(LARGEST, 0, is_determined=False)
    contexts_1LE = prepared.task.initial_context[None]
    cosines_NC = oracle.predict(prepared.task, images.handle, contexts_1LE, purpose="head")[0]
    return decide_temperature(cosines_NC, images.labels_N)


def decide_temperature(cosines_NC: FloatArray, labels_N: LabelArray) -> TaskTemperature:
    """The likeliest factor between 1 and 100; 100 where the images do not determine one: a single
    image, or labels that follow all scores or none."""
    num_images = len(labels_N)
    fitted = fit_temperature(cosines_NC, labels_N)
    if num_images < 2 or fitted.is_bound:
        return TaskTemperature(LARGEST, num_images, is_determined=False)
    is_inside = SMALLEST <= fitted.scale <= LARGEST
    scale = min(max(fitted.scale, SMALLEST), LARGEST)
    return TaskTemperature(scale, num_images, is_determined=is_inside)
