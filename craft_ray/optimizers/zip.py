"""Clipped SPSA on low-rank factors (Park et al., "ZIP", ICLR 2025)."""

from __future__ import annotations

import numpy as np

from craft_ray.config.optimizers import ZipConfig
from craft_ray.optimizers.base import FloatArray64, within
from craft_ray.optimizers.spsa import Spsa, segmented_uniform


class Zip(Spsa):
    """SPSA in the factors of z, with the norm of its estimate clipped.

    z, cut into B rows of Q, is U diag(s) V' + 1 u': low rank with a diagonal, and a shared row.
    Searched are the M numbers of U [B, R], s [R], V [Q, R] and u [Q], where U and u start at zero,
    s at one and V at N(0, 1). The norm of the estimate is clipped to sqrt(M) (intrinsic-dimensional
    clipping), which needs no setting.

    ZIP's rows are context tokens, each with a random projection of its own. Here z goes through the
    one projection of the task, so that a row is a part of z and no token; docs/optimizers.md.
    """

    def __init__(self, config: ZipConfig, dim: int, seed: int) -> None:
        self._num_blocks, self._rank = config.blocks, config.rank
        self._block_length = -(-dim // config.blocks)  # the last row may be cut
        super().__init__(config, dim, seed)

    def _start(self) -> None:
        super()._start()
        blocks, rank, length = self._num_blocks, self._rank, self._block_length
        self._centre_M = np.concatenate(
            [
                np.zeros(blocks * rank),
                np.ones(rank),
                self._generator.standard_normal(length * rank),
                np.zeros(length),
            ]
        )

    def _directions(self, num_pairs: int) -> FloatArray64:
        return segmented_uniform(self._generator, (num_pairs, self._centre_M.size))

    def _points(self, parameters_PM: FloatArray64) -> FloatArray64:
        blocks, rank, length = self._num_blocks, self._rank, self._block_length
        ends = np.cumsum([blocks * rank, rank, length * rank])
        left, scales_PR, right, shared_PQ = np.split(parameters_PM, ends, axis=1)
        left_PBR = left.reshape(-1, blocks, rank) * scales_PR[:, None]
        right_PRQ = right.reshape(-1, length, rank).transpose(0, 2, 1)
        rows_PBQ = left_PBR @ right_PRQ + shared_PQ[:, None]
        return within(self._bound, rows_PBQ.reshape(len(rows_PBQ), -1)[:, : self._dim])

    def _correct(self, gradient_M: FloatArray64) -> FloatArray64:
        norm, limit = float(np.linalg.norm(gradient_M)), gradient_M.size**0.5
        return gradient_M if norm <= limit else gradient_M * (limit / norm)

    def _project(self, centre_M: FloatArray64) -> FloatArray64:
        return centre_M  # the bound is one of z
