"""From settings to an optimizer."""

from __future__ import annotations

from craft_ray.config.optimizers import (
    RandomSearchConfig,
    SharpZoConfig,
    SoftOptimizerConfig,
    SpsaConfig,
    SpsaGcConfig,
    ZipConfig,
    ZoAdamConfig,
)
from craft_ray.optimizers.base import ZerothOrderOptimizer
from craft_ray.optimizers.cma_es import CmaEs
from craft_ray.optimizers.random_search import RandomSearch
from craft_ray.optimizers.sharp_zo import SharpZo
from craft_ray.optimizers.spsa import Spsa, SpsaGc
from craft_ray.optimizers.zip import Zip
from craft_ray.optimizers.zo_adam import ZoAdam


def make_optimizer(config: SoftOptimizerConfig, dim: int, seed: int) -> ZerothOrderOptimizer:
    """The optimizer that `config.kind` names, on R^dim, with a random stream of its own."""
    match config:
        case SpsaConfig():
            return Spsa(config, dim, seed)
        case SpsaGcConfig():
            return SpsaGc(config, dim, seed)
        case ZipConfig():
            return Zip(config, dim, seed)
        case ZoAdamConfig():
            return ZoAdam(config, dim, seed)
        case SharpZoConfig():
            return SharpZo(config, dim, seed)
        case RandomSearchConfig():
            return RandomSearch(config, dim, seed)
        case _:
            return CmaEs(config, dim, seed)
