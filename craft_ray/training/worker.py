"""The collaborative loop inside a Ray Train worker."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from craft_ray.config.run import RunConfig as CraftRunConfig
from craft_ray.pool.client import PoolAddress, PoolOracle
from craft_ray.training.ledger import MeteredOracle, QueryLedger
from craft_ray.training.loop import CollaborativeTrainer, GenerationReport
from craft_ray.training.preparation import PreparedTask
from craft_ray.training.state import load_state, save_state

KEPT_CHECKPOINTS = 2
MAX_WORKER_FAILURES = 2


@dataclass(frozen=True)
class TrainJob:
    """What a worker needs; small enough to travel by value."""

    config: CraftRunConfig
    prepared: PreparedTask
    pool: PoolAddress


def train_worker(payload: dict[str, Any]) -> None:
    """Run a `TrainJob` (key `job`), from its last checkpoint if there is one.

    Reports with each validation, so that the overhead of a report is paid a few times a run, and
    hands over the generations since the last one under `points`.
    """
    job: TrainJob = payload["job"]
    torch.set_num_threads(1)  # the head is tiny; the replicas need the cores
    oracle = MeteredOracle(
        PoolOracle(job.pool, job.config.pool), QueryLedger(job.config.max_queries)
    )
    trainer = CollaborativeTrainer(oracle, job.prepared, job.config)
    seconds_before = 0.0
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            state = load_state(Path(folder))
        trainer.load_state_dict(state)
        seconds_before = float(state.values["seconds"])
    started = time.monotonic()
    points: list[dict[str, float]] = []
    while not trainer.finished:
        report = trainer.run_generation()
        points.append(point_of(report))
        if report.validation is None:
            continue
        seconds = seconds_before + time.monotonic() - started
        state = trainer.state_dict()
        state.values["seconds"] = seconds
        metrics = {
            "generation": report.generation,
            "candidate_queries": report.candidate_queries,
            "val_accuracy": trainer.selected.validation.accuracy,
            "val_loss": trainer.selected.validation.loss,
            "selected_generation": trainer.selected.generation,
            "spent": oracle.ledger.spent.as_dict(),
            "train_seconds": seconds,
            "outcome": outcome_of(trainer),
            "points": points,
        }
        with tempfile.TemporaryDirectory() as folder:
            save_state(state, Path(folder))
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
        points = []


def outcome_of(trainer: CollaborativeTrainer) -> str:
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


def make_trainer(
    job: TrainJob, name: str, storage_path: Path, callbacks: Sequence[UserCallback]
) -> DataParallelTrainer:
    """One Ray Train worker for `job`, without a torch process group.

    A stable `name` and `storage_path` make a repeated call continue from the last checkpoint.
    """
    return DataParallelTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=1, resources_per_worker={"CPU": job.config.ray.cpus_per_worker}
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage_path),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            # Finite limits: starved of resources, Ray Train would otherwise wait for ever.
            failure_config=FailureConfig(
                max_failures=MAX_WORKER_FAILURES, controller_failure_limit=MAX_WORKER_FAILURES
            ),
            callbacks=list(callbacks),
        ),
    )
