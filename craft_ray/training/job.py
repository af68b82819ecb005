"""A fine-tuning as a job for Ray Train.

Light: the Tune function, Ray Train's controller and the worker of every trial load this module, and
only the worker needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train import Checkpoint
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.queue import Queue

from craft_ray.config.run import RunConfig as CraftRunConfig
from craft_ray.pool.address import PoolAddress
from craft_ray.training.task import PreparedTask

KEPT_CHECKPOINTS = 2
MAX_WORKER_FAILURES = 2


@dataclass(frozen=True)
class TrainJob:
    """What a worker needs; small enough to travel by value."""

    config: CraftRunConfig
    prepared: PreparedTask
    pool: PoolAddress


class ReportsToQueue(UserCallback):
    """Sends each report of the worker to the driver; runs in Ray Train's controller."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """See `UserCallback`."""
        self._queue.put(metrics[0])


def make_trainer(
    job: TrainJob, name: str, storage_path: Path, callbacks: Sequence[UserCallback]
) -> DataParallelTrainer:
    """One Ray Train worker for `job`, without a torch process group.

    A stable `name` and `storage_path` make a repeated call continue from the last checkpoint.
    """
    return DataParallelTrainer(
        _run_in_worker,
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


def _run_in_worker(payload: dict[str, Any]) -> None:
    from craft_ray.training.worker import train_worker

    train_worker(payload["job"])
