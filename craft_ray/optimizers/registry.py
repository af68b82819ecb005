"""From settings to an optimizer."""

from __future__ import annotations

from craft_ray.config.optimizers import CmaEsConfig, OptimizerConfig
from craft_ray.optimizers.base import ZerothOrderOptimizer
from craft_ray.optimizers.cma_es import CmaEs
from craft_ray.optimizers.random_search import RandomSearch


def make_optimizer(config: OptimizerConfig, dim: int, seed: int) -> ZerothOrderOptimizer:
    """The optimizer that `config.kind` names, on R^dim."""
    if isinstance(config, CmaEsConfig):
        return CmaEs(
            dim=dim,
            population=config.population,
            sigma=config.sigma,
            bound=config.bound,
            seed=seed,
            step_size_rule=config.step_size_rule,
        )
    return RandomSearch(dim, config.population, config.sigma, config.bound, seed)
