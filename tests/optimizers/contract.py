"""Every optimizer, as the contract suites see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from craft_ray.config.optimizers import CmaEsConfig, RandomSearchConfig
from craft_ray.optimizers import ZerothOrderOptimizer, make_optimizer
from craft_ray.optimizers.base import FloatArray64

Objective = Callable[[FloatArray64], FloatArray64]


@dataclass(frozen=True)
class Case:
    """Makes an optimizer the way a run does."""

    name: str
    config: CmaEsConfig | RandomSearchConfig

    def make(self, *, dim: int = 5, seed: int = 1, **changes: object) -> ZerothOrderOptimizer:
        config = type(self.config).model_validate({**self.config.model_dump(), **changes})
        return make_optimizer(config, dim, seed)


LEARNING = [
    Case(
        f"cma_es {rule}",
        CmaEsConfig(population=8, sigma=0.5, bound=None, step_size_rule=rule),
    )
    for rule in ("csa", "tpa")
]
FLOOR = Case("random_search", RandomSearchConfig(population=8, sigma=0.5, bound=None))
CASES = [*LEARNING, FLOOR]
SEARCHING = pytest.mark.parametrize("case", LEARNING, ids=[case.name for case in LEARNING])
ALL = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def sphere(points_PD: FloatArray64) -> FloatArray64:
    """Squared distance from (1, 1, ...)."""
    distances: FloatArray64 = ((points_PD - 1) ** 2).sum(axis=1)
    return distances


def run(optimizer: ZerothOrderOptimizer, objective: Objective, generations: int) -> FloatArray64:
    """Every candidate that was asked for, [generations, P, D]."""
    asked = []
    for _ in range(generations):
        candidates = optimizer.ask()
        asked.append(candidates)
        optimizer.tell(objective(candidates))
    return np.stack(asked)
