"""What a head is fitted to, and parts of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from craft_ray.method.heads.linear import LinearHead
from craft_ray.method.heads.points import Points
from craft_ray.method.heads.scale import zero_shot_scale
from craft_ray.method.reduction import FloatArray, LabelArray


@dataclass(frozen=True)
class Unlabelled:
    """Answers about images without labels.

    Attributes:
        seen_UF: all logits of an image, or its features.
        base_UC: logits that are corrected, where what is seen are features.
    """

    seen_UF: FloatArray
    base_UC: FloatArray | None = None


@dataclass(frozen=True)
class Pool:
    """The same as points.

    Attributes:
        points_UR: principal components.
        base_UC: logits that are corrected.
    """

    points_UR: torch.Tensor
    base_UC: torch.Tensor


@dataclass(frozen=True)
class Problem:
    """Images and views of them in M rows, the N plain images first.

    What is seen is the largest array by far: a part of a problem takes rows of it where they are
    needed, and has no copy.

    Attributes:
        all_seen: all logits of an image, or its features, [rows, F]: of the whole problem.
        rows_M: which of these are its own.
        points: the same as principal components, and how to get there.
        base_MC: logits of the classes under the first prompt, which are corrected.
        labels_M: the classes.
        num_plain: N.
        base_is_seen: whether the base is a map of what is seen: of its first C, or `offset_FC`.
        pool: images without labels; None: there are none.
        offset_FC: from what is seen to the base; None: its first C.
    """

    all_seen: torch.Tensor
    rows_M: torch.Tensor
    points: Points
    base_MC: torch.Tensor
    labels_M: torch.Tensor
    num_plain: int
    base_is_seen: bool
    pool: Pool | None = None
    offset_FC: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        seen_VNF: FloatArray,
        labels_N: LabelArray,
        num_classes: int,
        base_VNC: FloatArray | None,
        unlabelled: Unlabelled | None = None,
        offset_FC: FloatArray | None = None,
    ) -> Problem:
        """From arrays [1 + V, N, ...] of the plain images and of V views; without a base of its own
        it is the first of the logits seen, else what is seen are features, which keep their own
        metric. Components are those of all images, labelled or not."""
        seen_MF = _tensor(seen_VNF.reshape(-1, seen_VNF.shape[2]))
        rows_M = torch.arange(len(seen_MF))
        is_seen = base_VNC is None
        offset = None if offset_FC is None else torch.from_numpy(offset_FC)
        base_MC = (
            _seen_base(seen_MF, num_classes, offset)
            if base_VNC is None
            else _tensor(base_VNC.reshape(-1, num_classes))
        )
        labels_M = torch.from_numpy(np.tile(labels_N, len(seen_VNF)))
        num_plain = len(labels_N)
        if unlabelled is None:
            points = Points.of(seen_MF, standardised=is_seen)
            return cls(
                seen_MF, rows_M, points, base_MC, labels_M, num_plain, is_seen, offset_FC=offset
            )
        pool_UF = _tensor(unlabelled.seen_UF)
        all_points = Points.of(torch.cat([seen_MF, pool_UF]), standardised=is_seen)
        base_UC = _seen_base(pool_UF, num_classes, offset)
        if unlabelled.base_UC is not None:
            base_UC = _tensor(unlabelled.base_UC)
        points = all_points.part(slice(len(seen_MF)))
        pool = Pool(all_points.values_MR[len(seen_MF) :], base_UC)
        return cls(seen_MF, rows_M, points, base_MC, labels_M, num_plain, is_seen, pool, offset)

    def seen(self) -> torch.Tensor:
        """What is seen of its own rows, a copy, [M, F]."""
        return self.all_seen[self.rows_M]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.base_MC.shape[1]

    def part(self, chosen_N: npt.NDArray[np.bool_]) -> Problem:
        """Some of its images, with their views."""
        chosen_M = torch.from_numpy(np.tile(chosen_N, len(self.labels_M) // self.num_plain))
        return self._rows(chosen_M, int(chosen_N.sum()))

    @property
    def classes(self) -> list[int]:
        """Those that have a label, in their order."""
        counts_C = torch.bincount(self.labels_M, minlength=self.num_classes)
        return [int(label) for label in counts_C.nonzero()]

    def of_classes(self, classes: list[int]) -> Problem:
        """The task of these classes, to which all images belong; without unlabelled images."""
        places_C = torch.full((self.num_classes,), -1)
        places_C[classes] = torch.arange(len(classes))
        base_ML = self.base_MC[:, classes]
        return replace(self, base_MC=base_ML, labels_M=places_C[self.labels_M], pool=None)

    def base_of(self, rows_n: LabelArray) -> FloatArray:
        """Of some plain images, [n, C]."""
        base_nC: FloatArray = self.base_MC[: self.num_plain].numpy()[rows_n]
        return base_nC

    def plain(self) -> Problem:
        """Without the views."""
        return self._rows(slice(self.num_plain), self.num_plain)

    def _rows(self, chosen: torch.Tensor | slice, num_plain: int) -> Problem:
        return replace(
            self,
            rows_M=self.rows_M[chosen],
            points=self.points.part(chosen),
            base_MC=self.base_MC[chosen],
            labels_M=self.labels_M[chosen],
            num_plain=num_plain,
        )

    def base_scale(self) -> float:
        """How far zero-shot is trusted, by the plain images."""
        plain = self.plain()
        return zero_shot_scale(plain.base_MC.numpy(), plain.labels_M.numpy())

    def head(self, weight_RC: torch.Tensor, bias_C: torch.Tensor, base_scale: float) -> LinearHead:
        """On what is seen, from weights of points; `base_scale` of the base is a part of it where
        the base is seen."""
        scale = base_scale if self.base_is_seen else 0.0
        return self.points.head(weight_RC, bias_C, scale, self.offset_FC)

    def final_logits(self, head: LinearHead, base_scale: float) -> FloatArray:
        """Of the plain images, [N, C]."""
        plain = self.plain()
        final_NC = head(plain.seen().numpy())
        if not self.base_is_seen:
            final_NC += (base_scale * plain.base_MC).numpy()
        return final_NC


def _tensor(array: FloatArray) -> torch.Tensor:
    """The same memory, to which nobody here writes; but a copy of answers from the object store,
    which are read-only, as torch warns about these."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _seen_base(
    seen_MF: torch.Tensor, num_classes: int, offset_FC: torch.Tensor | None
) -> torch.Tensor:
    if offset_FC is None:
        return seen_MF[:, :num_classes].contiguous()
    return seen_MF @ offset_FC
