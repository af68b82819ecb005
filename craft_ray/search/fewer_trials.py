"""Why a search has ended with fewer trials than it may have, and what gives it more."""

from __future__ import annotations

from collections.abc import Sequence

from craft_ray.config.money import money
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.planned_spending import DataSize, plan_run
from craft_ray.search.plan import plan_trial, shared_size
from craft_ray.search.results import TrialResult


def why_fewer_trials(
    space: SpaceConfig, size: DataSize, results: Sequence[TrialResult], name: str
) -> str | None:
    """A sentence with the remedy; None if all trials are there.

    Args:
        space: of the search.
        size: of its data.
        results: of all trials that were begun.
        name: of the run.
    """
    if len(results) >= space.trials:
        return None
    words = f"{len(results)} of at most {space.trials} trials: "
    again = f"for more: the same command with name={name} {{}}=... --resume"
    most = space.max_total_queries
    if most is not None:
        needed = _needed_of_next(space, size, len(results))
        left = most - sum(_held(space, size, result) for result in results)
        if left < needed:
            words += f"{left:,} of {most:,} queries are left, and the next may need {needed:,}; "
            return words + again.format("max_total_queries")
    base, limits = space.base, {}
    if base.max_cost is not None:
        limits["max_cost"] = money(base.max_cost)
    if base.time_limit_s is not None:
        limits["time_limit_s"] = f"{base.time_limit_s:g}"
    if not limits:
        return None
    named = " or ".join(f"{key}={value}" for key, value in limits.items())
    words += f"what is left of {named} is not enough for the next; "
    return words + again.format("=... ".join(limits))


def _needed_of_next(space: SpaceConfig, size: DataSize, num_begun: int) -> int:
    """Queries that the next trial may ask, at most."""
    if num_begun < len(space.first_trials):
        config = space.resolve(space.first_trials[num_begun])
        return plan_run(config, size, shared_size(space)).candidate_queries
    return plan_trial(space, size).candidate_queries


def _held(space: SpaceConfig, size: DataSize, result: TrialResult) -> int:
    """What it has asked; of one that has failed what it may ask, as a resumed search goes on."""
    if result.status != "failed":
        return result.tuned.spent.candidate_queries
    return plan_run(space.resolve(result.params), size, shared_size(space)).candidate_queries
