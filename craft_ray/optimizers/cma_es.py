"""CMA-ES (Hansen, "The CMA Evolution Strategy: A Tutorial", 2016) and its two kinds for many
dimensions, through pycma."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.config.optimizers import CmaEsConfig, SepCmaEsConfig, VkdCmaEsConfig
from craft_ray.light_imports import without
from craft_ray.optimizers.base import FloatArray64
from craft_ray.optimizers.encoding import Encoder
from craft_ray.optimizers.stateful import StatefulOptimizer, ranks_of

# pycma loads them if they are there, to plot and for surrogate models: a second of CPU.
with without("matplotlib", "scipy", "scipy.stats"), warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Could not import matplotlib")
    import cma
    from cma.restricted_gaussian_sampler import ExponentialMovingAverage, GaussVkDSampler
    from cma.sigma_adaptation import CMAAdaptSigmaCSA, CMAAdaptSigmaTPA
    from cma.utilities.utils import ElapsedWCTime

LIBRARY = {"pycma": cma.__version__}
"""Another version may name its attributes otherwise: its states are refused."""
STEP_SIZE_RULES = {"csa": CMAAdaptSigmaCSA, "tpa": CMAAdaptSigmaTPA}


_PASSED_OVER = frozenset(
    [
        # Settings, and what follows from them alone.
        *("inputargs", "inopts", "opts", "sp", "sp0", "gp", "boundary_handler", "const"),
        # Records of what was asked and told; stopping rules, which nobody asks; clock and log.
        *("sent_solutions", "archive", "_injected_solutions_archive", "_tell2_args", "best"),
        *("pop", "ary", "pop_sorted"),
        *("_round_integer_variables", "callbackstop", "_stopdict"),
        *("timer", "logger", "more_to_write"),
    ]
)
_MADE_LATER = {
    "ExponentialMovingAverage": lambda: object.__new__(ExponentialMovingAverage),
}


def _is_of_the_library(value: object) -> bool:
    return type(value).__module__.startswith("cma.") and not isinstance(value, type)


class CmaEs(StatefulOptimizer):
    """CMA-ES on R^dim, started at zero.

    `cma_es` learns the whole covariance, C in the tutorial's eq. 47; `sep_cma_es` its diagonal (Ros
    & Hansen, PPSN 2008); `vkd_cma_es` D (I + V V') D with k columns in V, k adapted (Akimoto &
    Hansen, PPSN 2016 and GECCO 2016). The two step-size rules, `csa` (the authors' pycma <= 4.4.0)
    and `tpa` (pycma 4.5's default at this size), search very differently.

    The state is that of pycma's objects: mean, sigma, covariance with its factors, paths, counters.
    For dim 512 and the whole covariance it has about 5 MB.
    """

    _future = ("_strategy", "_generator")
    _encoder = Encoder(_is_of_the_library, _PASSED_OVER, _MADE_LATER)

    def __init__(
        self, config: CmaEsConfig | SepCmaEsConfig | VkdCmaEsConfig, dim: int, seed: int
    ) -> None:
        self._config = config
        self._seed = seed
        super().__init__(config, dim, config.population, seed)
        self._settings |= LIBRARY

    def _start(self) -> None:
        self._generator = np.random.default_rng(self._seed)

        def draw(*shape: int) -> FloatArray64:
            return self._generator.standard_normal(shape)

        bound = self._config.bound
        self._strategy = cma.CMAEvolutionStrategy(
            np.zeros(self._dim),
            self._config.sigma,
            {
                "popsize": self._population,
                "bounds": [None, None] if bound is None else [-bound, bound],
                "randn": draw,
                # With a stream of its own, pycma's seed has no use; nan leaves numpy's alone.
                "seed": np.nan,
                "verbose": -9,
                "verb_log": 0,
                "verb_disp": 0,
                **self._options_of_the_kind(draw),
            },
        )

    def _options_of_the_kind(self, draw: Callable[..., FloatArray64]) -> dict[str, Any]:
        if isinstance(self._config, VkdCmaEsConfig):
            # A sampler of one's own is not given the strategy's stream.
            sampler_options = {"CMA_sampler_options": {"randn": draw}}
            return {**GaussVkDSampler.extend_cma_options(), **sampler_options}
        return {
            "AdaptSigma": STEP_SIZE_RULES[self._config.step_size_rule],
            "CMA_diagonal": isinstance(self._config, SepCmaEsConfig),
        }

    def load_inner_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        super().load_inner_state(state)
        self._strategy.timer = ElapsedWCTime()  # made at the first `ask`, and expected later

    @property
    def mean(self) -> FloatArray64:
        return np.array(self._strategy.gp.pheno(self._strategy.mean, into_bounds=self._repair))

    def _draw(self) -> FloatArray64:
        return np.array(self._strategy.ask())

    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        self._strategy.tell(list(candidates_PD), ranks_of(losses_P).tolist())

    def _repair(self, solution: FloatArray64) -> FloatArray64:
        repaired: FloatArray64 = self._strategy.boundary_handler.repair(solution)
        return repaired
