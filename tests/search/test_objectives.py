"""Which trials are worth a look when several things count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.sampling import Objective
from craft_ray.search.objectives import (
    COMPARED_ON,
    as_compared,
    as_measured,
    dominates,
    objective_values,
    pareto_front,
)

OBJECTIVES: tuple[Objective, ...] = ("accuracy", "queries", "calibration_error")
numbers = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")])
values = st.fixed_dictionaries({name: numbers for name in OBJECTIVES})


def test_more_accuracy_and_fewer_queries_dominate() -> None:
    good: dict[Objective, float] = {"accuracy": 0.8, "queries": 100}
    costly: dict[Objective, float] = {"accuracy": 0.8, "queries": 200}
    cheap: dict[Objective, float] = {"accuracy": 0.5, "queries": 10}
    both: tuple[Objective, ...] = ("accuracy", "queries")
    assert dominates(good, costly, both)
    assert not dominates(costly, good, both)
    assert not dominates(good, cheap, both)
    assert pareto_front([cheap, costly, good], both) == [2, 0]
    assert pareto_front([cheap, costly, good], ("accuracy",)) == [1, 2]


@given(st.lists(values, min_size=1, max_size=12))
def test_all_that_is_not_on_the_front_is_dominated_by_something_on_it(
    trials: list[dict[Objective, float]],
) -> None:
    front = pareto_front(trials, OBJECTIVES)
    assert front
    for index, trial in enumerate(trials):
        beaten = [dominates(trials[other], trial, OBJECTIVES) for other in front]
        assert any(beaten) == (index not in front)


HELD_OUT = {"accuracy": 0.7, "loss": 0.9, "calibration_error": 0.05}
REPORT: dict[str, Any] = {
    "val_accuracy": None,
    "val_loss": None,
    "val_calibration_error": None,
    "held_out": HELD_OUT,
    "candidate_queries": 3,
    "predictions_per_image": 2,
}


def test_without_validation_trials_are_compared_by_held_out_images() -> None:
    compared = as_compared(REPORT)
    assert compared[COMPARED_ON] == "held out"
    assert objective_values(compared) == {
        "accuracy": 0.7,
        "queries": 3.0,
        "calibration_error": 0.05,
        "predictions_per_image": 2.0,
    }
    measured = as_measured(compared)
    assert {name: measured[name] for name in REPORT} == REPORT
    assert as_measured(REPORT) is REPORT
    validated = {**REPORT, "val_accuracy": 0.5}
    assert as_compared(validated) is validated
    failed = {"outcome": "failed"}
    assert as_compared(failed) is failed
    with pytest.raises(ValueError, match="nothing says how good it is"):
        as_compared({**REPORT, "held_out": None})
