"""CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", 2016) through pycma."""

from __future__ import annotations

from typing import Literal

import cma
import numpy as np
from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA

from craft_ray.optimizers.base import FloatArray64
from craft_ray.optimizers.replayed import ReplayedOptimizer

STEP_SIZE_RULES = {"csa": CMAAdaptSigmaCSA, "tpa": CMAAdaptSigmaTPA}


class CmaEs(ReplayedOptimizer):
    """CMA-ES on R^dim, started at zero.

    pycma's own state can only be pickled; here it is replayed, at about 10 ms a
    generation for dim 512.

    Args:
        dim: D, dimension of the search space.
        population: P, candidates a generation.
        sigma: initial step size.
        bound: |z_i| <= bound, or None.
        seed: seeds a random stream of its own.
        step_size_rule: `csa` (the authors' pycma <= 4.4.0) or `tpa` (pycma 4.5's default at this
            size). The two search very differently.
    """

    def __init__(
        self,
        dim: int,
        population: int = 40,
        sigma: float = 1.0,
        bound: float | None = None,
        seed: int = 0,
        step_size_rule: Literal["csa", "tpa"] = "csa",
    ) -> None:
        self._settings = (sigma, bound, seed, step_size_rule)
        super().__init__(dim, population)

    def _start(self) -> None:
        sigma, bound, seed, step_size_rule = self._settings
        generator = np.random.default_rng(seed)
        self._strategy = cma.CMAEvolutionStrategy(
            np.zeros(self._dim),
            sigma,
            {
                "popsize": self._population,
                "bounds": [None, None] if bound is None else [-bound, bound],
                "randn": lambda *shape: generator.standard_normal(shape),
                # With a stream of its own, pycma's seed has no use; nan leaves numpy's alone.
                "seed": np.nan,
                "AdaptSigma": STEP_SIZE_RULES[step_size_rule],
                "verbose": -9,
                "verb_log": 0,
                "verb_disp": 0,
            },
        )

    @property
    def mean(self) -> FloatArray64:
        """See `ZerothOrderOptimizer`."""
        return np.array(self._strategy.gp.pheno(self._strategy.mean, into_bounds=self._repair))

    @property
    def sigma(self) -> float:
        """The present step size."""
        return float(self._strategy.sigma)

    def _draw(self) -> FloatArray64:
        return np.array(self._strategy.ask())

    def _learn(self, candidates_PD: FloatArray64, ranks_P: FloatArray64) -> None:
        self._strategy.tell(list(candidates_PD), ranks_P.tolist())

    def _repair(self, solution: FloatArray64) -> FloatArray64:
        repaired: FloatArray64 = self._strategy.boundary_handler.repair(solution)
        return repaired
