"""Two-sided random gradient estimates with Adam."""

from __future__ import annotations

import numpy as np

from craft_ray.config.optimizers import ZoAdamConfig
from craft_ray.optimizers.base import FloatArray64, within
from craft_ray.optimizers.paired import PairedOptimizer

ADAM_EPSILON = 1e-8


def orthogonal_directions(
    generator: np.random.Generator, num_directions: int, dim: int
) -> FloatArray64:
    """[K, D]: each is N(0, I) alone, but any D that follow one another from the first are at right
    angles (Choromanski et al., "Structured Evolution with Compact Architectures", ICML 2018)."""
    drawn_KD = generator.standard_normal((num_directions, dim))
    lengths_K = np.linalg.norm(drawn_KD, axis=1)
    groups = []
    for start in range(0, num_directions, dim):
        turned, triangle = np.linalg.qr(drawn_KD[start : start + dim].T)
        # The signs of a QR decomposition follow a rule; with those of R every turn is as likely.
        groups.append((turned * np.sign(np.diag(triangle))).T)
    turned_KD: FloatArray64 = lengths_K[:, None] * np.concatenate(groups)
    return turned_KD


class ZoAdam(PairedOptimizer):
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1) on antithetic estimates.

    g = mean_k e_k (f(x + s e_k) - f(x - s e_k)) / (2 s), e_k in N(0, I): the gradient of f smoothed
    by N(0, s^2 I) (Nesterov & Spokoiny, Found. Comput. Math. 2017; NES with mirrored samples,
    Salimans et al. 2017). With Adam it is ZO-AdaMM (Chen et al., NeurIPS 2019)
    without its maximum. Only the ratio of estimates matters, not the scale of the losses.
    """

    _future = (*PairedOptimizer._future, "_first_D", "_second_D")

    def __init__(self, config: ZoAdamConfig, dim: int, seed: int) -> None:
        self._config = config
        super().__init__(config, dim, seed)

    def _start(self) -> None:
        super()._start()
        self._first_D: FloatArray64 = np.zeros(self._dim)
        self._second_D: FloatArray64 = np.zeros(self._dim)

    def _spread(self) -> float:
        return self._config.sigma

    def _directions(self, num_pairs: int) -> FloatArray64:
        if self._config.directions == "orthogonal":
            return orthogonal_directions(self._generator, num_pairs, self._dim)
        return self._generator.standard_normal((num_pairs, self._dim))

    def _descend(self, slopes_K: FloatArray64, directions_KM: FloatArray64) -> None:
        beta1, beta2 = self._config.beta1, self._config.beta2
        gradient_D = slopes_K @ directions_KM / len(slopes_K)
        self._first_D = beta1 * self._first_D + (1 - beta1) * gradient_D
        self._second_D = beta2 * self._second_D + (1 - beta2) * gradient_D**2
        step = self._steps + 1
        first_D = self._first_D / (1 - beta1**step)
        second_D = self._second_D / (1 - beta2**step)
        moved_D = first_D / (np.sqrt(second_D) + ADAM_EPSILON)
        self._centre_M = within(self._bound, self._centre_M - self._config.learning_rate * moved_D)
