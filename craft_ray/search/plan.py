"""What a search may spend at most, from its settings alone. Pure arithmetic."""

from __future__ import annotations

import itertools
from dataclasses import fields

from craft_ray.config.space import SpaceConfig
from craft_ray.training.ledger import Spending
from craft_ray.training.plan import DataSize, plan_driver, plan_run

PARAMETERS_THAT_CHANGE_SPENDING = ("method", "optimizer.population")


def plan_search(space: SpaceConfig, size: DataSize) -> Spending:
    """The most that all trials and the final examination can spend.

    A scheduler that stops trials early spends less.
    """
    relevant = [path for path in PARAMETERS_THAT_CHANGE_SPENDING if path in space.parameters]
    corners = itertools.product(*(space.parameters[path].corners() for path in relevant))
    plans = [
        plan_run(space.resolve(dict(zip(relevant, corner, strict=True))), size)
        for corner in corners
    ]
    worst = Spending(**{f.name: max(getattr(p, f.name) for p in plans) for f in fields(Spending)})
    total = plan_driver(space.base, size)
    for _ in range(space.trials):
        total += worst
    return total
