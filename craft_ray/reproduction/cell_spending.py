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


def plan_cell(
    cell: Cell, run: RunConfig, size: DataSize, num_shifted: Sequence[int], *, by_hand: bool
) -> Spending:
    """Spending of a cell that goes to the end of its budget.

    Args:
        cell: which.
        run: its settings.
        size: of its data.
        num_shifted: test images of each shifted set that it is tested on as well.
        by_hand: whether zero-shot is tested with a second template.
    """
    others = [replace(size, num_test=number) for number in num_shifted]
    if cell.method == "linear_probe":
        total = plan_feature_probe(run, size)
        for other in others:
            total += plan_feature_probe_test(other)
    else:
        total = plan_run(run, size) + plan_driver(run, size)
        for other in others:
            total += plan_test(run, other)
    if by_hand:
        for tested in (size, *others):
            total += plan_zero_shot(tested)
    return total
