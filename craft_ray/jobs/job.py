"""A fine-tuning as a job for Ray Train, and its reports in order.

Light: the Tune function, Ray Train's controller and the worker of every trial load this module, and
only the worker needs torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from ray.train import Checkpoint, Result
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.queue import Empty, Queue

from craft_ray.config.run import RunConfig as CraftRunConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.ray_storage import ray_storage
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.task.prepared import PreparedTask

KEPT_CHECKPOINTS = 2
MAX_WORKER_FAILURES = 2

CHECKPOINT_PATH = "checkpoint_path"
"""Key of a report: the folder of the state that belongs to it."""


@dataclass(frozen=True)
class TrainJob:
    """What a worker needs; small enough to travel by value."""

    config: CraftRunConfig
    prepared: PreparedTask
    pool: PoolAddress
    folder: Place | None = None
    """Of the checkpoints, and beside them of the record of queries."""


class ReportsToQueue(UserCallback):
    """Sends each report of the worker to whoever runs the job; lives in Ray Train's controller."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """See `UserCallback`."""
        path = {CHECKPOINT_PATH: checkpoint.path} if checkpoint else {}
        self._queue.put({**metrics[0], **path})


def run_job(
    job: TrainJob, name: str, storage_path: Place, on_report: Callable[[dict[str, Any]], None]
) -> Result:
    """Run `job` in a Ray Train worker; every report is passed on, in order, in this thread.

    A stable `name` and `storage_path` make a repeated call continue from the last checkpoint.

    Ray's own `TuneReportCallback` loses the last report when it is still on its way as
    `trainer.fit()` returns (the end of a Tune function overtakes it), and with it the budget's last
    queries. Here the caller passes reports on itself, and the end comes after the last of them.
    """
    # One report may wait: a worker does not run far ahead of a scheduler that may stop it.
    queue = Queue(maxsize=1, actor_options={"num_cpus": 0})
    trainer = _make_trainer(job, name, storage_path, ReportsToQueue(queue))
    future: Future[Result] = Future()

    def fit() -> None:
        try:
            future.set_result(trainer.fit())
        except BaseException as error:  # whatever it is, the other thread raises it
            future.set_exception(error)

    # In a thread, so that the calling one can take reports and hear Ctrl-C.
    threading.Thread(target=fit, daemon=True).start()
    done = False
    while not done:
        done = future.done()  # looked at before the queue, so that no last report is missed
        for report in _waiting_reports(queue, wait_s=0.0 if done else 0.2):
            on_report(report)
    queue.shutdown()
    return future.result()


def _waiting_reports(queue: Queue, wait_s: float) -> Iterator[dict[str, Any]]:
    try:
        yield queue.get(timeout=wait_s)
        while True:
            yield queue.get_nowait()
    except Empty:
        return


def _make_trainer(
    job: TrainJob, name: str, storage_path: Place, callback: UserCallback
) -> DataParallelTrainer:
    """One Ray Train worker for `job`, without a torch process group."""
    return DataParallelTrainer(
        _run_in_worker,
        train_loop_config={"job": replace(job, folder=storage_path / name)},
        scaling_config=ScalingConfig(
            num_workers=1,
            resources_per_worker={"CPU": job.config.ray.cpus_per_worker},
            label_selector=place_trials(job.config, cluster_nodes()).selector or None,
        ),
        run_config=RunConfig(
            name=name,
            **ray_storage(storage_path),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            # Finite limits: starved of resources, Ray Train would otherwise wait for ever.
            failure_config=FailureConfig(
                max_failures=MAX_WORKER_FAILURES, controller_failure_limit=MAX_WORKER_FAILURES
            ),
            callbacks=[callback],
        ),
    )


def _run_in_worker(payload: dict[str, Any]) -> None:
    from craft_ray.jobs.worker import train_worker

    train_worker(payload["job"])
