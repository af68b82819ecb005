"""What is the same in optimizers that estimate a gradient from pairs of candidates."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from craft_ray.config.optimizers import PairedConfig
from craft_ray.optimizers.base import FloatArray64, within
from craft_ray.optimizers.stateful import StatefulOptimizer

LARGEST_LOSS = 1e30
"""Losses count as at most this, so that sums and squares of their differences stay finite."""


class PairedOptimizer(StatefulOptimizer):
    """Asks at centre + spread * direction and centre - spread * direction, for P / 2 directions.

    The centre and the directions live in R^M, by default that of z (M = D); a subclass may search
    other parameters and map them. A pair of which one loss is no finite number teaches nothing; a
    generation without a whole pair changes nothing.

    A difference of two losses is the same whatever the level of both, so that neither the level
    nor its change between generations matters.

    Args:
        config: its population is even.
        dim: D, dimension of the search space.
        seed: seeds a random stream of its own.
    """

    _future: ClassVar[tuple[str, ...]] = ("_generator", "_centre_M", "_steps")

    def __init__(self, config: PairedConfig, dim: int, seed: int) -> None:
        self._bound = config.bound
        self._seed = seed
        super().__init__(config, dim, config.population, seed)

    def _start(self) -> None:
        self._generator = np.random.default_rng(self._seed)
        self._centre_M: FloatArray64 = np.zeros(self._dim)
        self._steps = 0

    @abstractmethod
    def _spread(self) -> float:
        """Of the pairs of this generation."""

    @abstractmethod
    def _directions(self, num_pairs: int) -> FloatArray64:
        """[P / 2, M], drawn anew."""

    @abstractmethod
    def _descend(self, slopes_K: FloatArray64, directions_KM: FloatArray64) -> None:
        """Move the centre. A slope is (loss at plus - loss at minus) / (2 * spread)."""

    def _points(self, parameters_PM: FloatArray64) -> FloatArray64:
        """z of parameters, [P, D]."""
        return within(self._bound, parameters_PM)

    @property
    def mean(self) -> FloatArray64:
        point: FloatArray64 = self._points(self._centre_M[None])[0].copy()
        return point

    def _draw(self) -> FloatArray64:
        self._directions_KM = self._directions(self._population // 2)
        shifts_KM = self._spread() * self._directions_KM
        return self._points(self._centre_M + np.concatenate([shifts_KM, -shifts_KM]))

    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        whole_K = np.isfinite(losses_P).reshape(2, -1).all(axis=0)
        if not whole_K.any():
            return
        plus_K, minus_K = losses_P.clip(-LARGEST_LOSS, LARGEST_LOSS).reshape(2, -1)
        slopes_K = (plus_K - minus_K)[whole_K] / (2 * self._spread())
        self._descend(slopes_K, self._directions_KM[whole_K])
        self._steps += 1
