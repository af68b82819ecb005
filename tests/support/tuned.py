"""What a fine-tuning has come to, made up."""

from __future__ import annotations

from dataclasses import asdict

from craft_ray.classifiers.score import Score
from craft_ray.jobs.job import Report
from craft_ray.jobs.tuned import Tuned
from craft_ray.metering.ledger import Spending


def report(validation: Score, held_out: Score | None = None, queries: int = 2000) -> Report:
    """The last one of a finished fine-tuning."""
    return {
        **{f"val_{name}": value for name, value in asdict(validation).items()},
        "held_out": held_out and asdict(held_out),
        "candidate_queries": queries,
        "predictions_per_image": 1,
        "retried_chunks": 0,
        "train_seconds": 12.34,
        "outcome": "finished",
    }


def tuned(validation: Score | None, held_out: Score | None = None, queries: int = 2000) -> Tuned:
    """With one report; or none, without a score."""
    reports = [] if validation is None else [report(validation, held_out, queries)]
    return Tuned("finished", reports, Spending(candidate_queries=queries), [])
