"""A training inside a Ray Train worker."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray.train
import torch
from threadpoolctl import threadpool_limits

from craft_ray.files.folders import place_of
from craft_ray.jobs.job import TrainJob
from craft_ray.metering.answer_cache import AnswerCache, open_answer_cache
from craft_ray.metering.journal import Journal, open_journal
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.pool.client import PoolOracle
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import LAST_REPORT, TrainerState, load_newest_state, save_state


def train_worker(job: TrainJob) -> None:
    """Run a job, from its last checkpoint if there is one.

    Reports with each validation, so that the overhead of a report is paid a few times a run, and
    hands over the generations since the last one under `points`. The first report after a
    checkpoint hands over that one's once more: who waited for them may have died. A tracker knows
    a point by its time.
    """
    # The arrays are small and the replicas need the cores. One thread also keeps the bits the same
    # whatever the number of CPUs: a threaded eigendecomposition would change the search.
    torch.set_num_threads(1)
    threadpool_limits(1)
    pool = PoolOracle(job.pool, job.config.pool)
    assert job.folder is not None  # named where the job is started
    cache = open_answer_cache(job.config.answer_cache)
    with open_journal(job.folder) as journal:
        _train(job, pool, journal, cache)
    if cache is not None:
        cache.close()


def _train(job: TrainJob, pool: PoolOracle, journal: Journal, cache: AnswerCache | None) -> None:
    oracle = MeteredOracle(pool, QueryLedger(job.config.max_queries), journal, cache)
    trainer = make_trainer(oracle, job.prepared, job.config)
    seconds_before, retried_before = 0.0, 0
    points: list[dict[str, float]] = []
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        assert job.folder is not None
        state = load_newest_state(place_of(checkpoint.path, job.folder))
        trainer.load_state_dict(state)
        last = state.values[LAST_REPORT]
        seconds_before, retried_before = float(last["train_seconds"]), int(last["retried_chunks"])
        points = last["points"]
        if trainer.finished:  # no other report will come
            _report(last, state)
    kept_generation = trainer.generation
    started = time.monotonic()
    while not trainer.finished:
        totals_before, began = pool.totals, time.monotonic()
        report = trainer.run_generation()
        rates = pool.totals.since(totals_before, time.monotonic() - began)
        points.append(point_of(report) | rates | {"time_ms": time.time_ns() // 10**6})
        if report.validation is None:
            continue
        selected = trainer.selected
        held_out = selected.evidence.held_out
        metrics = {
            "generation": report.generation,
            "candidate_queries": report.candidate_queries,
            **{f"val_{name}": value for name, value in asdict(selected.validation).items()},
            "held_out": held_out and asdict(held_out),
            "selected_generation": selected.generation,
            "predictions_per_image": len(selected.classifier.asked_contexts()),
            "retried_chunks": retried_before + pool.totals.retries,
            "train_seconds": seconds_before + time.monotonic() - started,
            "outcome": outcome_of(trainer),
            "points": points,
        }
        _report(metrics, trainer.state_dict())
        points = []
        # Two checkpoints are kept: the older may be needed, what lies before it is not.
        journal.forget_answers(before_generation=kept_generation)
        kept_generation = trainer.generation


def _report(metrics: dict[str, Any], state: TrainerState) -> None:
    """Hand over `metrics` with a checkpoint that holds them too."""
    state.values[LAST_REPORT] = metrics
    with tempfile.TemporaryDirectory() as folder:
        save_state(state, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def outcome_of(trainer: Trainer) -> str:
    """`running`, `finished` or `diverged`."""
    if trainer.diverged:
        return "diverged"
    return "finished" if trainer.finished else "running"


def point_of(report: GenerationReport) -> dict[str, float]:
    """One generation as tracked metrics; what did not happen is left out."""
    candidates = {
        "generation": report.generation,
        "candidate_queries": report.candidate_queries,
        "fitness_best": report.fitness_best,
        "fitness_median": report.fitness_median,
        "head_loss": report.head_loss,
        "val_accuracy": report.validation.accuracy if report.validation else None,
        "val_loss": report.validation.loss if report.validation else None,
    }
    return {name: float(value) for name, value in candidates.items() if value is not None}
