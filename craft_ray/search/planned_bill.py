"""What a search may ask an endpoint for at most, from its settings alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from craft_ray.config.distributions import Scalar
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.bill import bill_of
from craft_ray.metering.planned_bill import (
    check_bill_affordable,
    cost,
    plan_driver_bill,
    plan_test_bill,
    plan_trial_bill,
)
from craft_ray.metering.planned_spending import DataSize
from craft_ray.oracle.gate.bill import BilledUnits
from craft_ray.search.plan import dearest_runs, shared_size


def plan_search_bill(space: SpaceConfig, size: DataSize) -> BilledUnits:
    """All trials and the tests. What one trial is answered, the others need not pay for: a search
    mostly costs far less."""
    total = plan_drivers_bill(space, size)
    points = space.first_trials[: space.trials]
    for point in points:
        total += plan_point_bill(space, size, point)
    if num_sampled := space.trials - len(points):
        dearest = _dearest_trial(space, size)
        for _ in range(num_sampled):
            total += dearest
    return total


def plan_drivers_bill(space: SpaceConfig, size: DataSize) -> BilledUnits:
    """What is asked beside the trials."""
    return most_units(plan_driver_bill(run, size) for run in dearest_runs(space))


class MoneyLeft:
    """What a search may still spend at an endpoint, by the bill so far.

    Args:
        space: of the search, with `max_cost`.
        size: of its data.
        folder: of the search.
    """

    def __init__(self, space: SpaceConfig, size: DataSize, folder: Place) -> None:
        self._space, self._size, self._folder = space, size, folder
        self._tests = most_units(plan_test_bill(run, size) for run in dearest_runs(space))

    def affords(self, points: Iterable[Mapping[str, Scalar]]) -> bool:
        """Whether it pays for trials with these values, those that run included, and the tests.
        What they are answered already is in the bill, and counted twice."""
        endpoint, most = self._space.base.oracle, self._space.base.max_cost
        assert isinstance(endpoint, EndpointConfig)
        if most is None:
            return True
        total = self._tests
        for point in points:
            total += plan_point_bill(self._space, self._size, point)
        bill = bill_of(self._space.base, self._folder)
        spent = 0.0 if bill is None else bill.cost
        return spent + cost(total, endpoint) <= most


def plan_point_bill(space: SpaceConfig, size: DataSize, point: Mapping[str, Scalar]) -> BilledUnits:
    """What the trial with these values asks."""
    return plan_trial_bill(space.resolve(point), size, shared_size(space))


def _dearest_trial(space: SpaceConfig, size: DataSize) -> BilledUnits:
    shared = shared_size(space)
    return most_units(plan_trial_bill(run, size, shared) for run in dearest_runs(space))


def check_first_trial_bill(space: SpaceConfig, size: DataSize) -> None:
    """Refuse a budget of money that does not pay for zero-shot, a trial and the tests.

    Raises:
        ConfigError: says what they may cost.
    """
    if space.first_trials:
        first = plan_point_bill(space, size, space.first_trials[0])
    else:
        first = _dearest_trial(space, size)
    total = first + plan_drivers_bill(space, size)
    check_bill_affordable(space.base, total, "zero-shot, the first trial and the tests")


def most_units(plans: Iterable[BilledUnits]) -> BilledUnits:
    """Of each kind the most."""
    found = list(plans)
    kinds = ("requests", "images", "texts", "pairs", "tokens")
    return BilledUnits(**{kind: max(getattr(plan, kind) for plan in found) for kind in kinds})
