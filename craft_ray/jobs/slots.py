"""Warm Ray Train workers that take jobs from a board, for as long as a run lasts.

A slot is one Ray Train run of one worker, whose train function takes jobs until there are no more.
A worker that dies is replaced by Ray Train, and its successor goes on with the job that it had; the
board counts the attempts. Starting a worker costs seconds of CPU, a further job nothing.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

import ray
from ray.exceptions import RayError
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from craft_ray.errors import RunFailedError, last_words
from craft_ray.jobs.board import JobBoard
from craft_ray.jobs.job import Job, JobEnd, Message, Report
from craft_ray.jobs.outlook import JobProgress
from craft_ray.pool.cluster import beside_driver

logger = logging.getLogger(__name__)

MAX_REPLACEMENTS = 100
"""Workers of one slot, over all its jobs; each job has its own limit (`board.MAX_ATTEMPTS`)."""
MAX_RUNS = 3
"""Ray Train runs of one slot, one after another."""
WAIT_S = 1.0
CLOSE_TIMEOUT_S = 10.0
"""Workers without a job end at once; one that does not ends with Ray."""


class Watcher(Protocol):
    """Whoever hears of jobs."""

    def on_start(self, job: Any) -> None:
        """It is handed to a slot."""

    def on_report(self, job: Any, report: Report) -> None:
        """It has a report."""

    def on_progress(self, job: Any, progress: JobProgress) -> None:
        """How far it is, between two reports; about once a second."""

    def on_end(self, job: Any, end: JobEnd) -> None:
        """It has ended, and its slot is free."""


class Slots:
    """A context in which jobs are run.

    They start while the caller goes on with something else.

    Args:
        number: how many jobs are run at a time.
        cpus: of each worker.
        selector: Ray's labels of the nodes that may have one; empty: all.
    """

    def __init__(self, number: int, cpus: float, selector: Mapping[str, str]) -> None:
        self.number = number
        self._cpus = cpus
        self._selector = dict(selector)
        self._threads: list[threading.Thread] = []
        self._trainers: dict[int, _SlotTrainer] = {}
        self._num_left = number
        self._lock = threading.Lock()
        self._is_closing = False

    def __enter__(self) -> Slots:
        actor: Any = ray.remote(JobBoard)
        self.board = actor.options(
            num_cpus=0, max_concurrency=10_000, scheduling_strategy=beside_driver()
        ).remote(ray.kill)
        # Ray Train wants a place for the checkpoints of its runs. These have none: a job's state is
        # in its own folder.
        self._storage = tempfile.TemporaryDirectory(
            prefix="craft-ray-slots-", ignore_cleanup_errors=True
        )
        for slot in range(self.number):
            thread = threading.Thread(
                target=self._keep, args=(slot,), name=f"slot-{slot}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing = True
        with suppress(RayError):
            self.board.close.remote()
        if kind is not None:  # whoever works is not waited for
            for trainer in list(self._trainers.values()):
                trainer.end()
        # A thread that asks Ray after its shutdown ends the process, with exit code 1.
        for thread in self._threads:
            thread.join(timeout=CLOSE_TIMEOUT_S)
        with suppress(RayError):
            ray.kill(self.board)
        self._storage.cleanup()

    def run(self, jobs: Iterable[Job], watcher: Watcher) -> None:
        """Have jobs done, as many at a time as there are slots; the watcher hears of each in this
        thread, its reports in their order, before its end.

        Raises:
            RunFailedError: the board was lost, and with it whatever was not on disk.
        """
        try:
            self._run(jobs, watcher)
        except RayError as error:
            raise RunFailedError(f"the board of the jobs was lost: {last_words(error)}") from error

    def _run(self, jobs: Iterable[Job], watcher: Watcher) -> None:
        left = iter(jobs)
        following: dict[Any, tuple[Job, int]] = {}
        looked_s = time.monotonic()
        while True:
            for job in itertools.islice(left, self.number - len(following)):
                watcher.on_start(job)
                ray.get(self.board.submit.remote(job))
                following[self.board.next_message.remote(job.id, 0)] = (job, 0)
            if not following:
                return
            for reference in ray.wait(list(following), timeout=WAIT_S)[0]:
                job, index = following.pop(reference)
                message: Message = ray.get(reference)
                if message.end is not None:
                    watcher.on_end(job, message.end)
                    self.board.forget.remote(job.id)
                    continue
                assert message.report is not None
                watcher.on_report(job, message.report)
                following[self.board.next_message.remote(job.id, index + 1)] = (job, index + 1)
            if time.monotonic() - looked_s >= WAIT_S:
                looked_s = time.monotonic()
                progress: dict[str, JobProgress] = ray.get(self.board.progress.remote())
                for job, _ in following.values():
                    if job.id in progress:
                        watcher.on_progress(job, progress[job.id])

    def _keep(self, slot: int) -> None:
        """In a thread of its own: a Ray Train run, and another one should that be lost, such as by
        the end of its controller. Its worker takes up the slot's job."""
        problem = "its Ray Train run ended"
        for _ in range(MAX_RUNS):
            self._trainers[slot] = self._trainer(slot)
            if self._is_closing:  # looked at after the trainer is where `__exit__` ends it
                return
            try:
                self._trainers[slot].fit()
            except BaseException as error:
                problem = str(error)
            if self._is_closing:
                return
        with self._lock:
            self._num_left -= 1
            words = f"the workers of slot {slot} did not come up: {problem}"
            logger.error(words)
            with suppress(RayError):
                ray.get(self.board.slot_lost.remote(slot, self._num_left, words))

    def _trainer(self, slot: int) -> _SlotTrainer:
        return _SlotTrainer(
            _work,
            train_loop_config={"board": self.board, "slot": slot},
            scaling_config=ScalingConfig(
                num_workers=1,
                resources_per_worker={"CPU": self._cpus},
                label_selector=self._selector or None,
            ),
            run_config=RunConfig(
                name=f"slot-{slot}",
                storage_path=self._storage.name,
                # Finite limits: starved of resources, Ray Train would otherwise wait for ever.
                failure_config=FailureConfig(
                    max_failures=MAX_REPLACEMENTS, controller_failure_limit=2
                ),
            ),
        )


class _SlotTrainer(DataParallelTrainer):
    """Without two of the actors that Ray Train starts for each run: no data set is to be split, and
    the placement group of a slot ends with its controller, which ends with the driver.

    It can be ended by another thread, for which Ray Train has only Ctrl-C in the main one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._controller: Any = None
        self._is_ended = False

    def end(self) -> None:
        """End the run at once, with its worker; `fit` raises."""
        with self._lock:
            self._is_ended = True
            if self._controller is not None:
                with suppress(RayError):
                    ray.kill(self._controller)

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        controller_class: Any = ray.remote(TrainController)
        with self._lock:
            if self._is_ended:
                raise RunFailedError("ended before it began")
            self._controller = controller_class.options(
                num_cpus=0,
                scheduling_strategy=beside_driver(),
                runtime_env={"env_vars": get_env_vars_to_propagate()},
            ).remote(**arguments)
        ray.get(self._controller.run.remote())
        return ray.get(self._controller.get_result.remote())

    def _create_default_callbacks(self) -> list[Any]:
        needless = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, needless)
        ]


def _work(config: dict[str, Any]) -> None:
    # In the worker only: the driver does not need what it imports.
    from craft_ray.jobs.worker import work

    work(config["board"], config["slot"])
