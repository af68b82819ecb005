"""Random search: the floor that every optimizer must clear at equal queries."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from craft_ray.config.optimizers import RandomSearchConfig
from craft_ray.optimizers.base import FloatArray64, within
from craft_ray.optimizers.stateful import StatefulOptimizer


class RandomSearch(StatefulOptimizer):
    """Independent draws from N(0, sigma^2 I) on R^dim; the best of them is kept. Draws beyond the
    bound are set to it."""

    _future: ClassVar[tuple[str, ...]] = ("_generator",)

    def __init__(self, config: RandomSearchConfig, dim: int, seed: int) -> None:
        self._config = config
        self._seed = seed
        super().__init__(config, dim, config.population, seed)

    def _start(self) -> None:
        self._generator = np.random.default_rng(self._seed)

    @property
    def mean(self) -> FloatArray64:
        """The best: no distribution moves here, and what is drawn is independent of it."""
        return self.best

    def _draw(self) -> FloatArray64:
        draws_PD = self._generator.normal(0.0, self._config.sigma, (self._population, self._dim))
        return within(self._config.bound, draws_PD)

    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        """Nothing is learnt."""
