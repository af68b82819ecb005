"""Whether `max_cost` pays for a run, whichever kind of model it asks."""

from __future__ import annotations

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.planned_spending import (
    DataSize,
    check_affordable,
    plan_driver,
    plan_run,
)


def check_run_affordable(config: RunConfig, size: DataSize) -> None:
    """Refuse a run that may cost more than `max_cost`.

    Raises:
        ConfigError: says what it may cost.
    """
    check_affordable(config, plan_run(config, size) + plan_driver(config, size), "the run")
    if isinstance(config.oracle, EndpointConfig):
        # Here: what sends requests takes its time to load.
        from craft_ray.metering.planned_bill import check_bill_affordable, plan_run_bill

        check_bill_affordable(config, plan_run_bill(config, size), "the run")
