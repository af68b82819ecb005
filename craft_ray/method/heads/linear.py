"""What every head is in the end: a linear map of all logits of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from craft_ray.method.reduction import FloatArray


@dataclass(frozen=True)
class LinearHead:
    """Final logits from all logits z of an image: z A + b.

    Attributes:
        weight_FC: float32 [F, C].
        bias_C: float32 [C].
    """

    weight_FC: FloatArray
    bias_C: FloatArray

    def __call__(self, logits_NF: FloatArray) -> FloatArray:
        """[N, C]."""
        final: FloatArray = logits_NF @ self.weight_FC + self.bias_C
        return final

    def times(self, factor: float) -> LinearHead:
        """Its final logits times a number: the same predictions with other probabilities."""
        return LinearHead(np.float32(factor) * self.weight_FC, np.float32(factor) * self.bias_C)

    def shifted(self, shift: float, classes: Sequence[int]) -> LinearHead:
        """With a number added to the final logits of some classes."""
        bias_C = self.bias_C.copy()
        bias_C[classes] += np.float32(shift)
        return LinearHead(self.weight_FC, bias_C)
