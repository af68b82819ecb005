"""The names under which MLflow gets metrics: the same for searches, trials, runs and cells.

`accuracy/...`, `loss/...` and `calibration_error/...` say of what: `val`, `test`, `zero_shot` (on
validation) and `zero_shot_test`, `held_out` (training images that were not fitted to), and
`val_working`: the state after a generation, where `val` is the state that would be returned.
`queries`, `predictions`, `cost` and `seconds` are what was spent. What MLflow shows among the
system metrics begins with `system/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from craft_ray.tracking.base import STEP, TIME_MS, Point

QUERIES, PREDICTIONS, COST, SECONDS = "queries", "predictions", "cost", "seconds"

_OF_A_POINT = {
    "candidate_queries": QUERIES,
    "generation": "generation",
    "fitness_best": "loss/fitness_best",
    "fitness_median": "loss/fitness_median",
    "head_loss": "loss/head",
    "val_accuracy": "accuracy/val_working",
    "val_loss": "loss/val_working",
}
"""Name in a job's point -> in MLflow. A point is stored with the job: earlier runs have these."""
_POOL = "pool_"


MOST_POINTS = 200
"""Generations of a job that MLflow is told of, and the last one: what it keeps of a job does not
grow with its length."""


def points_of(report: Mapping[str, Any], num_generations: int) -> list[Point]:
    """The points of a job's report. The first one tells of the state that would be returned, which
    was chosen after the last generation: MLflow colours its plots by what it has heard first.

    Args:
        report: of a job.
        num_generations: of the job. Of more than `MOST_POINTS`, every second one is told, or every
            third, and so on.
    """
    step = -(-num_generations // MOST_POINTS)
    given = report.get("points", ())
    told = [point for point in given if not point["generation"] % step]
    if given and report.get("outcome", "running") != "running" and given[-1] not in told:
        told.append(given[-1])
    points = [_point_of(point) for point in told]
    if not points:
        return []
    last = {name: points[-1][name] for name in (STEP, TIME_MS) if name in points[-1]}
    return [{**last, **_chosen(report)}, *points]


def step_of(queries: float, generation: float) -> int:
    """The step of a metric: candidate queries; generations for a method that asks none."""
    return int(queries) or int(generation)


def score_metrics(of: str, score: Mapping[str, float] | None) -> dict[str, float]:
    """Accuracy, loss and calibration error of something; none if there is no score."""
    return {f"{measure}/{of}": float(value) for measure, value in (score or {}).items()}


def spent_metrics(
    ledger: Mapping[str, float], cost: float | None, seconds: float
) -> dict[str, float]:
    """What a run has spent; no cost if there is no price."""
    metrics = {
        QUERIES: float(ledger["candidate_queries"]),
        PREDICTIONS: float(ledger["image_predictions"]),
        SECONDS: float(seconds),
    }
    return metrics if cost is None else {**metrics, COST: float(cost)}


def pool_metrics(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures of the pool, whose names begin with `pool_`."""
    return {f"system/{name}": float(value) for name, value in figures.items()}


def _point_of(point: Mapping[str, float]) -> Point:
    step = step_of(point.get("candidate_queries", 0), point["generation"])
    named = {_OF_A_POINT[name]: value for name, value in point.items() if name in _OF_A_POINT}
    pool = {name: value for name, value in point.items() if name.startswith(_POOL)}
    when = {TIME_MS: point[TIME_MS]} if TIME_MS in point else {}
    return {STEP: step, **when, **named, **pool_metrics(pool)}


def _chosen(report: Mapping[str, Any]) -> dict[str, float]:
    validation = {
        measure: report[f"val_{measure}"]
        for measure in ("accuracy", "loss", "calibration_error")
        if report.get(f"val_{measure}") is not None
    }
    metrics = score_metrics("val", validation)
    for of in ("held_out", "zero_shot_held_out"):
        metrics |= score_metrics(of, report.get(of))
    if "train_seconds" in report:
        metrics[SECONDS] = float(report["train_seconds"])
    if "predictions_per_image" in report:
        metrics["predictions_per_image"] = float(report["predictions_per_image"])
    return metrics
