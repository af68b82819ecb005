"""What may travel in place of logits: how predictions become one loss a candidate, as plain data.

For 16,000 images and 1,000 classes the logits of one candidate are 64 MB; its loss is one number.
`craft_ray.method.scoring` computes it, wherever the logits are. Light: every process loads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LabelArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reduction:
    """The prompt's loss (CraFT section 3.3) of one candidate's logits [N, C].

    Attributes:
        labels_N: the true classes.
        head: weights of the present `RefinementHead`; None where it has no say.
        consistency: weight of the divergence between refined and raw predictions.
    """

    labels_N: LabelArray
    head: Mapping[str, FloatArray] | None
    consistency: float

    @property
    def num_bytes(self) -> int:
        """Of its arrays."""
        head = {} if self.head is None else self.head
        return self.labels_N.nbytes + sum(weights.nbytes for weights in head.values())

    @property
    def digest(self) -> str:
        """Content address."""
        digest = hashlib.sha256(repr((self.consistency, self.labels_N.shape)).encode())
        digest.update(self.labels_N.tobytes())
        for name, weights in sorted((self.head or {}).items()):
            digest.update(f"{name}{weights.shape}".encode() + weights.tobytes())
        return digest.hexdigest()

    def check(self, num_images: int, num_classes: int) -> None:
        """Raise ValueError unless it fits predictions [K, N, C]."""
        labels = self.labels_N
        if labels.shape != (num_images,) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"labels must be integers [{num_images}], but got {labels.dtype} "
                f"{list(labels.shape)}"
            )
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"labels must lie in [0, {num_classes}), but got {labels.min()} to {labels.max()}"
            )
        if not (np.isfinite(self.consistency) and self.consistency >= 0):
            raise ValueError(f"consistency >= 0 must hold, but got {self.consistency}")
        if self.head is not None and self.head["enter.weight"].shape[1] != num_classes:
            raise ValueError(
                f"head must be of {num_classes} classes, but is of "
                f"{self.head['enter.weight'].shape[1]}"
            )
