"""Whether `max_cost` pays for the beginning of a search, whichever kind of model it asks."""

from __future__ import annotations

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.planned_spending import DataSize, check_affordable, plan_run
from craft_ray.search.plan import plan_drivers, plan_trial, shared_size


def check_first_trial_is_affordable(space: SpaceConfig, size: DataSize) -> None:
    """Refuse a budget of money that does not pay for zero-shot, a trial and the tests.

    Raises:
        ConfigError: says what they may cost.
    """
    if isinstance(space.base.oracle, EndpointConfig):
        # Here: what sends requests takes its time to load.
        from craft_ray.search.planned_bill import check_first_trial_bill

        check_first_trial_bill(space, size)
        return
    if space.first_trials:
        first = plan_run(space.tree.resolve(space.first_trials[0]), size, shared_size(space))
    else:
        first = plan_trial(space, size)
    plan = first + plan_drivers(space, size)
    check_affordable(space.base, plan, "zero-shot, the first trial and the tests")
