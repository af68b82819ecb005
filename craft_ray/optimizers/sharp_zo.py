"""A sharpness-aware warm start, then sparse zeroth-order descent (Yang et al., "SharpZO", NeurIPS
2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from craft_ray.config.optimizers import CmaEsConfig, SharpZoConfig
from craft_ray.optimizers.base import FloatArray64, State, within
from craft_ray.optimizers.cma_es import LIBRARY, CmaEs
from craft_ray.optimizers.paired import LARGEST_LOSS, PairedOptimizer
from craft_ray.optimizers.stateful import StatefulOptimizer

_STAGE = "stage."


class SharpZo(StatefulOptimizer):
    """CMA-ES on losses at candidate + e, then `SparseDescent` from its mean.

    e = rho g / ||g|| is the worst case near the mean to first order (the closed form of SAM, Foret
    et al. 2021, eq. 2). The authors spend 2 D queries a generation on g by differences along
    coordinates, 1,024 for D = 512, which no budget of 8,000 bears. Here g is the estimate
    sum_i (f_i - mean f) (x_i - mean x) from the generation before, which costs none.
    """

    _future: ClassVar[tuple[str, ...]] = ("_warm_up_left", "_worse_D")

    def __init__(self, config: SharpZoConfig, dim: int, seed: int) -> None:
        self._config = config
        self._seed = seed
        super().__init__(config, dim, config.population, seed)
        self._settings |= LIBRARY

    def _start(self) -> None:
        config = self._config
        warm_up = CmaEsConfig(population=config.population, bound=config.bound, sigma=config.sigma)
        self._stage: CmaEs | SparseDescent = CmaEs(warm_up, self._dim, self._seed)
        self._warm_up_left = config.warm_up_generations
        self._worse_D: FloatArray64 = np.zeros(self._dim)

    @property
    def mean(self) -> FloatArray64:
        return self._stage.mean

    def inner_state(self) -> State:
        stage = {_STAGE + name: array for name, array in self._stage.inner_state().items()}
        return {**super().inner_state(), **stage}

    def load_inner_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        super().load_inner_state({k: v for k, v in state.items() if not k.startswith(_STAGE)})
        if self._warm_up_left == 0:
            self._stage = SparseDescent(self._config, np.zeros(self._dim), self._seed)
        self._stage.load_inner_state(
            {k.removeprefix(_STAGE): v for k, v in state.items() if k.startswith(_STAGE)}
        )

    def _draw(self) -> FloatArray64:
        self._drawn_PD = self._stage._draw()
        if self._warm_up_left == 0:
            return self._drawn_PD
        return within(self._config.bound, self._drawn_PD + self._worse_D)

    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        self._stage._learn(self._drawn_PD, losses_P)
        if self._warm_up_left == 0:
            return
        self._worse_D = self._config.sharpness_radius * _ascent(self._drawn_PD, losses_P)
        self._warm_up_left -= 1
        if self._warm_up_left == 0:
            self._stage = SparseDescent(self._config, self._stage.mean, self._seed)


def _ascent(points_PD: FloatArray64, losses_P: FloatArray64) -> FloatArray64:
    """[D], of length 1: where losses rise; zero where nothing is known."""
    finite_P = np.isfinite(losses_P)
    losses_F = losses_P[finite_P].clip(-LARGEST_LOSS, LARGEST_LOSS)
    ascent_D: FloatArray64 = (losses_F - losses_F.mean()) @ points_PD[finite_P]
    norm = float(np.linalg.norm(ascent_D))
    return ascent_D / norm if norm > 0 else np.zeros_like(ascent_D)


class SparseDescent(PairedOptimizer):
    """Gradient descent by two-sided estimates on some of the coordinates.

    As in the authors' second stage: g = mean_k e_k (f(x + s e_k) - f(x - s e_k)) / (2 s), e_k in
    N(0, I) on the coordinates that are searched, x <- x - a g. Pruned is the share with the lowest
    score x_i^2 (|g_i| - mean |g|) / std |g|: large coordinates whose slope is small. For the score
    the authors measure g along all coordinates, 2 D queries; here one generation on all of them is
    spent, the first and then every `mask_every_generations`, and taken as a step like any other.
    """

    _future = (*PairedOptimizer._future, "_searched_D")

    def __init__(self, config: SharpZoConfig, start_D: FloatArray64, seed: int) -> None:
        self._config = config
        self._start_D = start_D
        # Not the stream of the warm start.
        own_seed = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        super().__init__(config, start_D.size, own_seed)

    def _start(self) -> None:
        super()._start()
        self._centre_M = self._start_D.copy()
        self._searched_D = np.ones(self._dim, dtype=bool)

    @property
    def _measures_all(self) -> bool:
        return self._steps % self._config.mask_every_generations == 0

    def _spread(self) -> float:
        return self._config.descent_sigma

    def _directions(self, num_pairs: int) -> FloatArray64:
        drawn_KD = self._generator.standard_normal((num_pairs, self._dim))
        return drawn_KD if self._measures_all else drawn_KD * self._searched_D

    def _descend(self, slopes_K: FloatArray64, directions_KM: FloatArray64) -> None:
        gradient_D = slopes_K @ directions_KM / len(slopes_K)
        if self._measures_all:
            self._searched_D = self._choose(np.abs(gradient_D))
        self._centre_M = within(
            self._bound, self._centre_M - self._config.learning_rate * gradient_D
        )

    def _choose(self, steepness_D: FloatArray64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """The coordinates that are searched from now on."""
        standard_D = (steepness_D - steepness_D.mean()) / (steepness_D.std() + 1e-8)
        score_D = self._centre_M**2 * standard_D
        searched_D = np.ones(self._dim, dtype=bool)
        num_pruned = int(self._config.pruned_share * self._dim)
        searched_D[np.argsort(score_D, kind="stable")[:num_pruned]] = False
        return searched_D
