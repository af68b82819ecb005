"""The fake world behind an endpoint that answers with embeddings, or with cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from craft_ray.errors import OracleError
from craft_ray.oracle.contract import (
    FEATURES,
    SOFT_AND_TEXT,
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    TaskHandle,
)
from craft_ray.oracle.contract_laws import rows_of
from craft_ray.oracle.endpoints.capabilities import Served
from tests.support.fake_oracle import LOGIT_SCALE, FakeOracle


class FakeFeatureOracle(FakeOracle):
    """Gives features as well: `embed_texts(prompts_of(task))` are what `predict` compares with
    under the template's own context. Remembers how many images and texts it was asked about."""

    def __init__(self, seed: int = 0, *, cosines: bool = False) -> None:
        super().__init__(seed)
        self._cosines = cosines
        self.images_embedded = self.texts_embedded = self.images_predicted = 0

    def describe(self) -> OracleDescription:
        served: frozenset[Served] = frozenset({"cosine" if self._cosines else "logits"})
        capabilities = replace(SOFT_AND_TEXT, answers=served | FEATURES)
        description = replace(super().describe(), capabilities=capabilities)
        if not self._cosines:
            return description
        return replace(description, logit_scale=1.0, scale_is_known=False)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        self.images_predicted += len(contexts_KLE) * images.num_images
        logits = super().predict(task, images, contexts_KLE, answer)
        return logits / np.float32(LOGIT_SCALE) if self._cosines else logits

    def embed_images(self, images: ImageHandle) -> FloatArray:
        if images.digest not in self._features:
            raise OracleError(f"images: {images.digest[:12]} must be registered first")
        self.images_embedded += images.num_images
        registered_NF = self._features[images.digest]
        rows_NF = registered_NF[rows_of(images, len(registered_NF))]
        unit_NF: FloatArray = rows_NF / np.linalg.norm(rows_NF, axis=1, keepdims=True)
        return unit_NF.astype(np.float32)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Of "a photo of a {}."."""
        if not texts:
            raise OracleError("texts: must be at least one, but got none")
        self.texts_embedded += len(texts)
        names = tuple(text.removeprefix("a photo of a ").removesuffix(".") for text in texts)
        task = ClassificationTask(names)
        handle = self.register_task(task)
        features: FloatArray = self._text(task, handle.initial_context[None])[0].astype(np.float32)
        return features
