"""What trials are compared by: the objectives as metrics of a report, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from craft_ray.config.sampling import Objective


class Measure(NamedTuple):
    """A metric of a trial's report, and which way is better."""

    metric: str
    mode: Literal["max", "min"]


MEASURES: dict[Objective, Measure] = {
    "accuracy": Measure("val_accuracy", "max"),
    "queries": Measure("candidate_queries", "min"),
    "calibration_error": Measure("val_calibration_error", "min"),
    "predictions_per_image": Measure("predictions_per_image", "min"),
}
METRIC = MEASURES["accuracy"].metric
RESOURCE = MEASURES["queries"].metric
"""What schedulers count."""

COMPARED_ON = "compared_on"
"""Key of a report, where it is not on validation images."""
NOT_COMPARABLE = (
    "nothing says how good it is: without validation images (data.validation=none) trials are "
    "compared by training images that are held out, and here not all could be"
)

Values = Mapping[Objective, float]


def as_compared(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report with what trials are compared by. Without validation images these are the scores on
    training images that are held out, under the same names.

    Raises:
        ValueError: nothing was held out.
    """
    if METRIC not in report or report[METRIC] is not None:
        return report
    held_out = report["held_out"]
    if held_out is None:
        raise ValueError(NOT_COMPARABLE)
    scores = {f"val_{name}": value for name, value in held_out.items()}
    return {**report, **scores, COMPARED_ON: "held out"}


def as_measured(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `as_compared` was made of: nothing held out passes for validation."""
    if COMPARED_ON not in report:
        return report
    return {**report, **{f"val_{name}": None for name in report["held_out"]}}


def objective_values(report: Mapping[str, Any]) -> dict[Objective, float]:
    """All of them, whichever are sought."""
    return {name: float(report[measure.metric]) for name, measure in MEASURES.items()}


def dominates(one: Values, other: Values, objectives: Sequence[Objective]) -> bool:
    """Whether `one` is nowhere worse and somewhere better. NaN is worse than any number."""
    signed = [(_cost(one, name), _cost(other, name)) for name in objectives]
    return all(a <= b for a, b in signed) and any(a < b for a, b in signed)


def pareto_front(values: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Positions of those that no other dominates, the highest accuracy first."""
    front = [
        index
        for index, one in enumerate(values)
        if not any(dominates(other, one, objectives) for other in values)
    ]
    return sorted(front, key=lambda index: _cost(values[index], "accuracy"))


def _cost(values: Values, name: Objective) -> float:
    value = values[name]
    if value != value:
        return float("inf")
    return -value if MEASURES[name].mode == "max" else value
