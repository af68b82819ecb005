"""Names of metrics in MLflow."""

from __future__ import annotations

from typing import Any

from craft_ray.tracking.vocabulary import points_of, score_metrics, spent_metrics

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
    chosen, first, last = points_of(REPORT)
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
    assert points_of({**REPORT, "points": []}) == []


def test_a_method_without_queries_counts_generations() -> None:
    point = {"generation": 3, "candidate_queries": 0, "head_loss": 1.0}
    assert [each["step"] for each in points_of({"points": [point]})] == [3, 3]


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
