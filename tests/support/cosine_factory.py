"""The embedded oracle as an endpoint of embeddings: features and cosines, no temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from craft_ray.oracle.contract import (
    FEATURES,
    Answer,
    FloatArray,
    ImageHandle,
    OracleDescription,
    TaskHandle,
)
from craft_ray.oracle.endpoints.capabilities import Served
from craft_ray.oracle.features import FeatureClipOracle
from craft_ray.pool.lifecycle import ClipFactory
from craft_ray.pool.replica import HostedOracle


class CosineClipOracle(FeatureClipOracle):
    """Says nothing of its scale."""

    def describe(self) -> OracleDescription:
        description = super().describe()
        answers: frozenset[Served] = FEATURES.union(("cosine",))
        capabilities = replace(description.capabilities, answers=answers)
        return replace(
            description,
            logit_scale=1.0,
            scale_is_known=False,
            scores=False,
            capabilities=capabilities,
        )

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        scale = np.float32(self._description.logit_scale)
        return super().predict(task, images, contexts_KLE, answer) / scale


@dataclass(frozen=True)
class CosineFactory(ClipFactory):
    """Loads one where the replica runs."""

    def __call__(self) -> HostedOracle:
        import torch

        torch.set_num_threads(self.num_threads)
        return CosineClipOracle.load(self.config, self.device)
