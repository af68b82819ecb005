"""An oracle that takes a fixed time for a question, in place of a GPU that this machine may lack.

It sleeps: any number of replicas runs on any machine, and what is measured is everything but the
model. Its predictions are noise that its question decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from craft_ray.method.reduction import Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    LossArray,
    OnPart,
    OracleDescription,
    TaskHandle,
    ignore_part,
)
from craft_ray.oracle.contract_laws import digest_of_images

CONTEXT = np.zeros((4, 512), dtype=np.float32)


@dataclass(frozen=True)
class FixedServiceFactory:
    """Makes the oracle in a replica."""

    seconds_per_question: float

    def __call__(self) -> FixedServiceOracle:
        return FixedServiceOracle(self.seconds_per_question)


class FixedServiceOracle:
    """Implements `HostedOracle`."""

    num_images_encoded = progress = 0

    def __init__(self, seconds_per_question: float) -> None:
        self._seconds = seconds_per_question

    def describe(self) -> OracleDescription:
        return OracleDescription(
            oracle_id="fixed service",
            embed_dim=CONTEXT.shape[1],
            context_length=77,
            image_size=8,
            logit_scale=1.0,
            initial_context=CONTEXT,
            scores=True,
        )

    def device_works(self) -> bool:
        """It has none."""
        return True

    def knows(self, digest: str) -> bool:
        return True

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        return TaskHandle(task.digest, len(task.class_names), CONTEXT)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        return ImageHandle(digest_of_images(images), len(images))

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        time.sleep(self._seconds)
        shape = (len(contexts_KLE), images.num_images, task.num_classes)
        return np.zeros(shape, dtype=np.float32)

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        time.sleep(self._seconds)
        losses: LossArray = contexts_KLE.sum(axis=(1, 2), dtype=np.float64)
        return losses
