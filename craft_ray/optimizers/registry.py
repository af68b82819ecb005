"""From settings to an optimizer."""

from __future__ import annotations

from craft_ray.config.run import CmaEsConfig
from craft_ray.optimizers.base import ZerothOrderOptimizer
from craft_ray.optimizers.cma_es import CmaEs


def make_optimizer(config: CmaEsConfig, dim: int, seed: int) -> ZerothOrderOptimizer:
    """The optimizer that `config.kind` names, on R^dim."""
    return CmaEs(
        dim=dim,
        population=config.population,
        sigma=config.sigma,
        bound=config.bound,
        seed=seed,
        step_size_rule=config.step_size_rule,
    )
