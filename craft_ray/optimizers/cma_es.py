"""CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", 2016) through pycma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import cma
import numpy as np
import numpy.typing as npt
from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA

from craft_ray.optimizers.base import FloatArray64, State

STEP_SIZE_RULES = {"csa": CMAAdaptSigmaCSA, "tpa": CMAAdaptSigmaTPA}


class CmaEs:
    """CMA-ES on R^dim, started at zero.

    pycma's own state can only be pickled. A run is, however, a pure function of its settings, its
    seed and the losses it was told, so the state kept here is just these losses, and loading
    replays them (about 10 ms a generation at dim 512).

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
        self._settings = (dim, population, sigma, bound, seed, step_size_rule)
        self._population = population
        self._start()

    def _start(self) -> None:
        dim, population, sigma, bound, seed, step_size_rule = self._settings
        self._losses: list[FloatArray64] = []
        self._resampled: list[bool] = []
        self._asked_PD: FloatArray64 | None = None
        self._best_D: FloatArray64 = np.zeros(dim)
        self._best_loss = np.inf
        generator = np.random.default_rng(seed)
        self._strategy = cma.CMAEvolutionStrategy(
            np.zeros(dim),
            sigma,
            {
                "popsize": population,
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
    def population(self) -> int:
        """See `ZerothOrderOptimizer`."""
        return self._population

    @property
    def mean(self) -> FloatArray64:
        """See `ZerothOrderOptimizer`."""
        return np.array(self._strategy.gp.pheno(self._strategy.mean, into_bounds=self._repair))

    @property
    def best(self) -> FloatArray64:
        """See `ZerothOrderOptimizer`."""
        return self._best_D.copy()

    @property
    def sigma(self) -> float:
        """The present step size."""
        return float(self._strategy.sigma)

    def ask(self) -> FloatArray64:
        """See `ZerothOrderOptimizer`."""
        if self._asked_PD is None:
            self._asked_PD = np.array(self._strategy.ask())
        return self._asked_PD.copy()

    def tell(self, losses_P: FloatArray64) -> None:
        """See `ZerothOrderOptimizer`."""
        losses = np.array(losses_P, dtype=np.float64)
        if self._asked_PD is None:
            raise ValueError("tell: ask must be called first")
        if losses.shape != (self._population,):
            raise ValueError(f"tell: losses must be [{self._population}], got {list(losses.shape)}")
        finite = np.isfinite(losses)
        if not finite.any():
            raise ValueError("tell: at least one loss must be finite, but none is")
        # CMA-ES sees ranks only. A failure shares its rank with no finite loss, not even the worst:
        # in a tie it could become a parent.
        _, ranks = np.unique(np.where(finite, losses, np.inf), return_inverse=True)
        self._strategy.tell(list(self._asked_PD), ranks.astype(np.float64).tolist())
        winner = int(np.argmin(np.where(finite, losses, np.inf)))
        if losses[winner] < self._best_loss:
            self._best_loss = float(losses[winner])
            self._best_D = self._asked_PD[winner].copy()
        self._losses.append(losses)
        self._resampled.append(False)
        self._asked_PD = None

    def resampled_mean(self) -> FloatArray64:
        """See `ZerothOrderOptimizer`."""
        if not self._resampled or self._resampled[-1] or self._asked_PD is not None:
            raise ValueError("resampled_mean: allowed once after each tell, before ask")
        self._resampled[-1] = True
        population: FloatArray64 = np.array(self._strategy.ask())
        mean: FloatArray64 = population.mean(axis=0)
        return mean

    def state_dict(self) -> State:
        """See `ZerothOrderOptimizer`."""
        return {
            "losses": np.array(self._losses, dtype=np.float64).reshape(-1, self._population),
            "resampled": np.array(self._resampled, dtype=np.uint8),
            # Proves on loading that the replay arrived where this run was.
            "mean": self.mean,
        }

    def load_state_dict(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """See `ZerothOrderOptimizer`."""
        losses_GP = np.asarray(state["losses"], dtype=np.float64)
        if losses_GP.ndim != 2 or losses_GP.shape[1] != self._population:
            raise ValueError(
                f"state: losses must be [generations, {self._population}], got "
                f"{list(losses_GP.shape)}"
            )
        self._start()
        for losses, resampled in zip(losses_GP, state["resampled"], strict=True):
            self.ask()
            self.tell(losses)
            if resampled:
                self.resampled_mean()
        if not np.array_equal(self.mean, state["mean"]):
            raise ValueError(
                "state: replaying the losses must reproduce the saved mean, but does not: the "
                "state is of other settings, another seed or another pycma"
            )

    def _repair(self, solution: FloatArray64) -> FloatArray64:
        repaired: FloatArray64 = self._strategy.boundary_handler.repair(solution)
        return repaired
