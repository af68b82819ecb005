"""What a cell will spend, from its settings and the sizes of its data. A test holds this arithmetic
to the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import (
    DataSize,
    plan_driver,
    plan_feature_probe,
    plan_feature_probe_test,
    plan_run,
    plan_test,
    plan_zero_shot,
)
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.zero_shot import ZeroShot


def plan_cell(
    cell: Cell,
    run: RunConfig,
    size: DataSize,
    num_shifted: Sequence[int],
    zero_shot: ZeroShot | None,
) -> Spending:
    """Spending of a cell that goes to the end of its budget.

    Args:
        cell: which.
        run: its settings.
        size: of its data.
        num_shifted: test images of each shifted set that it is tested on as well.
        zero_shot: what it measures beside its result.
    """
    others = [replace(size, num_test=number) for number in num_shifted]
    if cell.method == "linear_probe":
        total = plan_feature_probe(run, size)
        for other in others:
            total += plan_feature_probe_test(other)
    else:
        total = plan_run(run, size) + plan_driver(run, size, tests_zero_shot=False)
        for other in others:
            total += plan_test(run, other, tests_zero_shot=False)
    num_untuned = 0 if zero_shot is None else 1 + (zero_shot.hand_crafted is not None)
    for tested in (size, *others):
        for _ in range(num_untuned):
            total += plan_zero_shot(tested)
    return total
