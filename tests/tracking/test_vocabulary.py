"""Names of metrics in MLflow."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.tracking.base import STEP, TIME_MS
from craft_ray.tracking.vocabulary import MOST_POINTS, points_of, score_metrics, spent_metrics

SCORE = {"accuracy": 0.5, "loss": 1.0, "calibration_error": 0.1}
REPORT: dict[str, Any] = {
    "val_accuracy": 0.75,
    "val_loss": 0.5,
    "val_calibration_error": 0.25,
    "held_out": None,
    "predictions_per_image": 1,
    "train_seconds": 3.0,
    "points": [
        {"generation": 1, "candidate_queries": 40, "time_ms": 10, "fitness_best": 2.0},
        {
            "generation": 2,
            "candidate_queries": 80,
            "time_ms": 20,
            "val_accuracy": 0.5,
            "pool_retries": 1.0,
        },
    ],
}


def test_the_step_is_the_number_of_queries_and_the_chosen_state_has_its_own_name() -> None:
    chosen, first, last = points_of(REPORT, 50)
    assert chosen == {
        "step": 80,
        "time_ms": 20,
        "accuracy/val": 0.75,
        "loss/val": 0.5,
        "calibration_error/val": 0.25,
        "seconds": 3.0,
        "predictions_per_image": 1.0,
    }
    assert (first["step"], first["loss/fitness_best"], first["queries"]) == (40, 2.0, 40)
    assert (last["step"], last["accuracy/val_working"], last["system/pool_retries"]) == (80, 0.5, 1)


def test_a_report_that_was_heard_before_has_nothing_to_tell() -> None:
    assert points_of({**REPORT, "points": []}, 50) == []


def test_a_method_without_queries_counts_generations() -> None:
    point = {"generation": 3, "candidate_queries": 0, "head_loss": 1.0}
    assert [each["step"] for each in points_of({"points": [point]}, 50)] == [3, 3]


def test_scores_and_spending_have_the_same_names_everywhere() -> None:
    assert score_metrics("test", SCORE) == {
        "accuracy/test": 0.5,
        "loss/test": 1.0,
        "calibration_error/test": 0.1,
    }
    assert score_metrics("held_out", None) == {}
    ledger = {"candidate_queries": 7, "image_predictions": 70}
    spent = {"queries": 7.0, "predictions": 70.0, "seconds": 2.0}
    assert spent_metrics(ledger, None, 2) == spent
    assert spent_metrics(ledger, 0.5, 2) == {**spent, "cost": 0.5}


MOST_METRICS = 24
"""Of a generation, and of the state that would be returned beside it."""


@given(
    num_generations=st.integers(1, 20_000),
    every=st.integers(1, 300),
    ends_at=st.floats(0.01, 1),
)
def test_what_is_told_of_a_job_does_not_grow_with_its_length(
    num_generations: int, every: int, ends_at: float
) -> None:
    last = max(1, round(ends_at * num_generations))
    rows = requests = 0
    told: list[float] = []
    for start in range(0, last, every):
        stop = min(start + every, last)
        point = {"candidate_queries": 40, "fitness_best": 1.0, "val_accuracy": 0.5, "val_loss": 1.0}
        pool = {f"pool_{name}": 1.0 for name in ("queries_per_s", "batch_fill", "service_s")}
        report = {
            **REPORT,
            "held_out": SCORE,
            "zero_shot_held_out": SCORE,
            "outcome": "finished" if stop == last else "running",
            "points": [
                {"generation": n, "time_ms": n, **point, **pool} for n in range(start + 1, stop + 1)
            ],
        }
        points = points_of(report, num_generations)
        requests += bool(points)
        rows += sum(len(point.keys() - {STEP, TIME_MS}) for point in points)
        told += [point["generation"] for point in points if "generation" in point]
    assert requests <= MOST_POINTS + 1
    assert rows <= MOST_METRICS * (MOST_POINTS + 1)
    assert told == sorted(set(told))
    assert told[-1] == last
    if num_generations <= MOST_POINTS:
        assert told == list(range(1, last + 1))
