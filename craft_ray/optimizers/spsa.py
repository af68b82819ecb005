"""Simultaneous perturbation stochastic approximation, plain and with gradient correction."""

from __future__ import annotations

import numpy as np

from craft_ray.config.optimizers import GainConfig, SpsaGcConfig
from craft_ray.optimizers.base import FloatArray64, within
from craft_ray.optimizers.paired import PairedOptimizer


def signs(generator: np.random.Generator, shape: tuple[int, int]) -> FloatArray64:
    """-1 or 1, either as likely."""
    return generator.choice(np.array([-1.0, 1.0]), shape)


def segmented_uniform(generator: np.random.Generator, shape: tuple[int, int]) -> FloatArray64:
    """Uniform on [-1, -0.5] and [0.5, 1]: the directions of BlackVIP and ZIP (their code)."""
    directions: FloatArray64 = generator.uniform(0.5, 1.0, shape) * signs(generator, shape)
    return directions


class Spsa(PairedOptimizer):
    """SPSA with averaged estimates.

    Spall, "Implementation of the simultaneous perturbation algorithm", IEEE TAES 34(3), 1998:
    g_i = (f(x + c_k d) - f(x - c_k d)) / (2 c_k d_i) with d_i = -1 or 1 (step 4), averaged over the
    pairs of a generation, and x <- x - a_k g with the gains a_k = a / (A + k + 1)^alpha,
    c_k = c / (k + 1)^gamma (step 1); within a bound the centre is projected.
    """

    def __init__(self, config: GainConfig, dim: int, seed: int) -> None:
        self._gains = config
        super().__init__(config, dim, seed)

    def _spread(self) -> float:
        return float(self._gains.sigma / (self._steps + 1) ** self._gains.sigma_decay)

    def _directions(self, num_pairs: int) -> FloatArray64:
        return signs(self._generator, (num_pairs, self._centre_M.size))

    def _descend(self, slopes_K: FloatArray64, directions_KM: FloatArray64) -> None:
        gains = self._gains
        gain = (
            gains.learning_rate / (gains.stability + self._steps + 1) ** gains.learning_rate_decay
        )
        gradient_M = (slopes_K[:, None] / directions_KM).mean(axis=0)
        self._centre_M = self._project(self._centre_M - gain * self._correct(gradient_M))

    def _correct(self, gradient_M: FloatArray64) -> FloatArray64:
        """The direction that is gone down, from the estimate."""
        return gradient_M

    def _project(self, centre_M: FloatArray64) -> FloatArray64:
        return within(self._bound, centre_M)


class SpsaGc(Spsa):
    """SPSA with gradient correction (Oh et al., "BlackVIP", CVPR 2023).

    Nesterov's accelerated gradient on SPSA's estimates, m <- b m - a_k g(x + b m) and x <- x + m,
    in the form of the authors' code, whose centre is the point looked ahead to: m <- b m + g and
    x <- x - a_k (g + b m). Directions are uniform on [-1, -0.5] and [0.5, 1].
    """

    _future = (*Spsa._future, "_accumulated_M")

    def __init__(self, config: SpsaGcConfig, dim: int, seed: int) -> None:
        self._momentum = config.momentum
        super().__init__(config, dim, seed)

    def _start(self) -> None:
        super()._start()
        self._accumulated_M: FloatArray64 = np.zeros_like(self._centre_M)

    def _directions(self, num_pairs: int) -> FloatArray64:
        return segmented_uniform(self._generator, (num_pairs, self._centre_M.size))

    def _correct(self, gradient_M: FloatArray64) -> FloatArray64:
        self._accumulated_M = self._momentum * self._accumulated_M + gradient_M
        corrected: FloatArray64 = gradient_M + self._momentum * self._accumulated_M
        return corrected
