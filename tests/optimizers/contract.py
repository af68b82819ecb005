"""Every optimizer, as the contract suites see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from craft_ray.config.optimizers import (
    CmaEsConfig,
    RandomSearchConfig,
    SepCmaEsConfig,
    SharpZoConfig,
    SoftOptimizerConfig,
    SpsaConfig,
    SpsaGcConfig,
    VkdCmaEsConfig,
    ZipConfig,
    ZoAdamConfig,
)
from craft_ray.optimizers import ZerothOrderOptimizer, make_optimizer
from craft_ray.optimizers.base import FloatArray64

Objective = Callable[[FloatArray64], FloatArray64]


@dataclass(frozen=True)
class Case:
    """Makes an optimizer the way a run does."""

    name: str
    config: SoftOptimizerConfig
    first_spread: float = 0.5
    """Standard deviation of the first candidates' coordinates."""

    def make(self, *, dim: int = 5, seed: int = 1, **changes: object) -> ZerothOrderOptimizer:
        config = type(self.config).model_validate({**self.config.model_dump(), **changes})
        return make_optimizer(config, dim, seed)


RANKED = [
    Case(
        f"{kind.model_fields['kind'].default} {rule}",
        kind(population=8, sigma=0.5, bound=None, step_size_rule=rule),
    )
    for kind in (CmaEsConfig, SepCmaEsConfig)
    for rule in ("csa", "tpa")
] + [Case("vkd_cma_es", VkdCmaEsConfig(population=8, sigma=0.5, bound=None))]
"""Learn from ranks alone."""

SEGMENTED = float(np.sqrt(7 / 12))
"""Standard deviation of the uniform distribution on [-1, -0.5] and [0.5, 1]."""

PAIRED = [
    Case(
        "spsa",
        SpsaConfig(population=8, sigma=0.5, bound=None, learning_rate=0.5, stability=5),
    ),
    Case(
        "spsa_gc",
        SpsaGcConfig(population=8, sigma=0.5, bound=None, learning_rate=0.05),
        first_spread=0.5 * SEGMENTED,
    ),
    Case(
        "zip",
        ZipConfig(population=8, sigma=0.5, bound=None, learning_rate=0.2, blocks=2, rank=2),
        # (0.5 d_U) diag(1 + 0.5 d_s) (V + 0.5 d_V)' + 0.5 d_u, for two columns.
        first_spread=0.5 * SEGMENTED * float(np.sqrt(1 + 2 * (1 + (0.5 * SEGMENTED) ** 2) ** 2)),
    ),
    *(
        Case(
            f"zo_adam {directions}",
            ZoAdamConfig(
                population=8,
                sigma=0.5,
                bound=None,
                learning_rate=0.1,
                beta2=0.99,
                directions=directions,
            ),
        )
        for directions in ("gaussian", "orthogonal")
    ),
]
"""Learn from differences between the two sides of their centre."""

STAGED = Case(
    "sharp_zo",
    SharpZoConfig(
        population=8,
        sigma=0.5,
        bound=None,
        warm_up_generations=3,
        learning_rate=0.1,
        descent_sigma=0.5,
        pruned_share=0.2,
        mask_every_generations=4,
    ),
)
"""The one, and then the other."""

LEARNING = [*RANKED, *PAIRED, STAGED]
FLOOR = Case("random_search", RandomSearchConfig(population=8, sigma=0.5, bound=None))
CASES = [*LEARNING, FLOOR]
KINDS = {case.config.kind for case in CASES}


def _each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


BY_RANKS = _each([*RANKED, FLOOR])
BY_PAIRS = _each(PAIRED)
SEARCHING = _each(LEARNING)
ALL = _each(CASES)


def sphere(points_PD: FloatArray64) -> FloatArray64:
    """Squared distance from (1, 1, ...)."""
    distances: FloatArray64 = ((points_PD - 1) ** 2).sum(axis=1)
    return distances


def ellipsoid(points_PD: FloatArray64) -> FloatArray64:
    """Condition 100, around a point without a pattern; the steepest axis is that of `sphere`."""
    dim = points_PD.shape[1]
    weights_D = np.logspace(0, -2, dim)
    centre_D = 1 + 0.3 * np.sin(3.0 * np.arange(dim))
    values: FloatArray64 = (weights_D * (points_PD - centre_D) ** 2).sum(axis=1)
    return values


def rosenbrock(points_PD: FloatArray64) -> FloatArray64:
    """A curved valley, seen from the classical start (-1.2, 1, -1.2, 1, ...), which is zero here;
    its walls are about as steep as `sphere`."""
    placed_PD = points_PD + np.resize([-1.2, 1.0], points_PD.shape[1])
    left, right = placed_PD[:, :-1], placed_PD[:, 1:]
    values: FloatArray64 = (100 * (right - left**2) ** 2 + (1 - left) ** 2).sum(axis=1)
    return values / 500


def run(optimizer: ZerothOrderOptimizer, objective: Objective, generations: int) -> FloatArray64:
    """Every candidate that was asked for, [generations, P, D]."""
    asked = []
    for _ in range(generations):
        candidates = optimizer.ask()
        asked.append(candidates)
        optimizer.tell(objective(candidates))
    return np.stack(asked)
