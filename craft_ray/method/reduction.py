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
class PromptLoss:
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
    def num_known(self) -> int:
        """Logits of an image beside the candidate's."""
        return 0

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

    def check(self, num_images: int, num_logits: int) -> None:
        """Raise ValueError unless it fits predictions [K, num_images, num_logits]."""
        _check_labels(self.labels_N, num_images, num_logits)
        if not (np.isfinite(self.consistency) and self.consistency >= 0):
            raise ValueError(f"consistency >= 0 must hold, but got {self.consistency}")
        if self.head is not None:
            _check_head(self.head, num_logits)


@dataclass(frozen=True)
class LinearHeadError:
    """The error that the best linear head on one candidate's logits has on images it did not see,
    as `craft_ray.method.cross_validation` estimates it.

    Attributes:
        labels_N: the true classes.
        num_classes: C of the head; an image may have more logits, of names beside the classes.
        known_NF: logits that the head sees beside the candidate's: of contexts chosen before.
    """

    labels_N: LabelArray
    num_classes: int
    known_NF: FloatArray

    @property
    def num_known(self) -> int:
        """Logits of an image beside the candidate's."""
        return int(self.known_NF.shape[1])

    @property
    def num_bytes(self) -> int:
        """Of its arrays."""
        return self.labels_N.nbytes + self.known_NF.nbytes

    @property
    def digest(self) -> str:
        """Content address."""
        shapes = (self.labels_N.shape, self.known_NF.shape)
        digest = hashlib.sha256(f"linear head {self.num_classes} {shapes}".encode())
        digest.update(self.labels_N.tobytes())
        digest.update(np.ascontiguousarray(self.known_NF).data)
        return digest.hexdigest()

    def check(self, num_images: int, num_logits: int) -> None:
        """Raise ValueError unless it fits predictions [K, num_images, num_logits]."""
        _check_labels(self.labels_N, num_images, self.num_classes)
        if not 2 <= self.num_classes <= num_logits:
            raise ValueError(
                f"2 <= num_classes <= {num_logits} must hold, but got {self.num_classes}"
            )
        if self.known_NF.dtype != np.float32 or self.known_NF.shape[:1] != (num_images,):
            raise ValueError(
                f"known logits must be float32 [{num_images}, F], but got {self.known_NF.dtype} "
                f"{list(self.known_NF.shape)}"
            )


Reduction = PromptLoss | LinearHeadError


def _check_head(head: Mapping[str, FloatArray], num_logits: int) -> None:
    """It may come from anywhere: an endpoint's clients send it."""
    hidden = len(head["enter.bias"]) if "enter.bias" in head else 0
    wanted = {
        "enter.weight": (hidden, num_logits),
        "enter.bias": (hidden,),
        "leave.weight": (num_logits, hidden),
        "leave.bias": (num_logits,),
    }
    shapes = {name: weights.shape for name, weights in head.items()}
    if shapes != wanted or not hidden:
        told = {name: list(shape) for name, shape in sorted(shapes.items())}
        raise ValueError(f"head must be of {num_logits} classes, but has {told}")
    if any(
        weights.dtype != np.float32 or not np.isfinite(weights).all() for weights in head.values()
    ):
        raise ValueError("head must be of finite float32, but is not")


def _check_labels(labels_N: LabelArray, num_images: int, num_classes: int) -> None:
    if labels_N.shape != (num_images,) or not np.issubdtype(labels_N.dtype, np.integer):
        raise ValueError(
            f"labels must be integers [{num_images}], but got {labels_N.dtype} "
            f"{list(labels_N.shape)}"
        )
    if labels_N.min() < 0 or labels_N.max() >= num_classes:
        raise ValueError(
            f"labels must lie in [0, {num_classes}), but got {labels_N.min()} to {labels_N.max()}"
        )
