"""Zeroth-order optimizers: `ask()` for candidates, `tell()` their losses. They know neither the
oracle nor Ray; the loop belongs to the caller."""

from craft_ray.optimizers.base import ZerothOrderOptimizer
from craft_ray.optimizers.deployed import deployed_point
from craft_ray.optimizers.registry import make_optimizer

__all__ = ["ZerothOrderOptimizer", "deployed_point", "make_optimizer"]
