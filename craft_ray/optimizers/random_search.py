"""Random search: the floor that every optimizer must clear at equal queries."""

from __future__ import annotations

import numpy as np

from craft_ray.optimizers.base import FloatArray64
from craft_ray.optimizers.replayed import ReplayedOptimizer


class RandomSearch(ReplayedOptimizer):
    """Independent draws from N(0, sigma^2 I) on R^dim; the best of them is kept.

    Args:
        dim: D, dimension of the search space.
        population: P, candidates a generation.
        sigma: spread of the draws.
        bound: |z_i| <= bound (draws beyond it are set to it), or None.
        seed: seeds a random stream of its own.
    """

    def __init__(
        self,
        dim: int,
        population: int = 40,
        sigma: float = 1.0,
        bound: float | None = None,
        seed: int = 0,
    ) -> None:
        self._settings = (sigma, bound, seed)
        super().__init__(dim, population)

    def _start(self) -> None:
        self._generator = np.random.default_rng(self._settings[2])

    @property
    def mean(self) -> FloatArray64:
        """The best: no distribution moves here, and what is drawn is independent of it."""
        return self.best

    def _draw(self) -> FloatArray64:
        sigma, bound, _ = self._settings
        draws_PD = self._generator.normal(0.0, sigma, (self._population, self._dim))
        return draws_PD if bound is None else draws_PD.clip(-bound, bound)

    def _learn(self, candidates_PD: FloatArray64, ranks_P: FloatArray64) -> None:
        """Nothing is learnt."""
