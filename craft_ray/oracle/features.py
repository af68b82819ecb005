"""A model whose owner gives features of images and of texts, and nothing of its inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.errors import OracleError
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    FEATURES,
    FloatArray,
    ImageHandle,
    OracleDescription,
)


class FeatureClipOracle(ClipOracle):
    """A `ClipOracle` that gives features; implements `FeatureOracle` and `ScoringOracle`."""

    def describe(self) -> OracleDescription:
        description = super().describe()
        capabilities = description.capabilities
        answers = capabilities.answers | FEATURES
        return replace(description, capabilities=replace(capabilities, answers=answers))

    @torch.inference_mode()
    def embed_images(self, images: ImageHandle) -> FloatArray:
        features_NF = F.normalize(self._images.features(images), dim=-1)
        result: FloatArray = features_NF.cpu().numpy()
        return result

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """A text is encoded as a prompt without a soft context."""
        if not texts:
            raise OracleError("texts: must be at least one, but got none")
        text_MF = self._text.encode_texts(self._text.tokenize_texts(texts))
        result: FloatArray = F.normalize(text_MF.float(), dim=-1).cpu().numpy()
        return result
