"""Prompt generation: context = p0 + A z (CraFT section 3.1, after BBT, Sun et al. 2022)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class PromptProjection:
    """Maps points of the search space to contexts.

    Args:
        initial_context_LE: p0, the embeddings of the template's first words.
        intrinsic_dim: D, the dimension of z.
        std: standard deviation of the frozen Gaussian A.
        seed: draws A.
    """

    def __init__(
        self, initial_context_LE: FloatArray, intrinsic_dim: int, std: float, seed: int
    ) -> None:
        self._initial_LE = initial_context_LE
        generator = np.random.default_rng(seed)
        matrix = generator.normal(0.0, std, size=(intrinsic_dim, initial_context_LE.size))
        self._matrix = matrix.astype(np.float32)

    def contexts(self, points_PD: npt.NDArray[np.float64]) -> FloatArray:
        """float32 [P, L, E]."""
        shifts = points_PD.astype(np.float32) @ self._matrix
        result: FloatArray = self._initial_LE + shifts.reshape(-1, *self._initial_LE.shape)
        return result
