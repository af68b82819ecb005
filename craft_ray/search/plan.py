"""What a search may spend at most, from its settings alone. Pure arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import fields, replace

from craft_ray.config.space import SpaceConfig
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import DataSize, plan_driver, plan_run

PARAMETERS_THAT_CHANGE_SPENDING = (
    "method",
    "optimizer.batches",
    "optimizer.population",
    "head.contexts",
    "head.contexts_per_generation",
    "head.names",
)


def plan_search(space: SpaceConfig, size: DataSize) -> Spending:
    """The most that all trials and the final examination can spend.

    A scheduler that stops trials early spends less. Under a budget of the search, what is asked
    for candidates stays within it, however many trials that makes.
    """
    relevant = [path for path in PARAMETERS_THAT_CHANGE_SPENDING if path in space.parameters]
    corners = itertools.product(*(space.parameters[path].corners() for path in relevant))
    configs = [space.resolve(dict(zip(relevant, corner, strict=True))) for corner in corners]
    total = _most(plan_driver(config, size) for config in configs)
    worst = _most(plan_run(config, size) for config in configs)
    for _ in range(space.trials):
        total += worst
    if space.max_total_queries is None or total.candidate_queries <= space.max_total_queries:
        return total
    per_query = total.search_predictions // total.candidate_queries
    return replace(
        total,
        candidate_queries=space.max_total_queries,
        search_predictions=space.max_total_queries * per_query,
    )


def _most(plans: Iterable[Spending]) -> Spending:
    """Of each kind."""
    every = list(plans)
    return Spending(**{f.name: max(getattr(p, f.name) for p in every) for f in fields(Spending)})
