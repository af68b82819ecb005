"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayTaskError

from craft_ray.config.run import PoolConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    PixelArray,
    TaskHandle,
    check_contexts,
    check_pixels,
    digest_of_images,
)
from craft_ray.pool.replica import Refused
from craft_ray.pool.scheduler import Assignment, ChunkScheduler, rank_replicas, split_population


@dataclass(frozen=True)
class PoolAddress:
    """Finds a running pool from any process of the cluster."""

    namespace: str
    registry: str
    replicas: tuple[str, ...]


@dataclass(frozen=True)
class _Flight:
    assignment: Assignment
    deadline: float


class PoolOracle:
    """Splits a query into chunks, sends them to replicas, retries what is lost.

    Args:
        address: the pool.
        config: chunk size, back-pressure, attempts and timeout.

    Raises:
        PoolError: the pool is not running.
    """

    def __init__(self, address: PoolAddress, config: PoolConfig) -> None:
        self._config = config
        try:
            self._registry = ray.get_actor(address.registry, namespace=address.namespace)
            self._replicas: dict[str, Any] = {
                name: ray.get_actor(name, namespace=address.namespace) for name in address.replicas
            }
        except ValueError as error:
            raise PoolError(f"the oracle pool is not running: {error}") from error
        self._description: OracleDescription | None = None
        self.retries = 0
        """Chunks that this client had to send again."""

    def describe(self) -> OracleDescription:
        """See `Oracle`."""
        if self._description is None:
            first = next(iter(self._replicas.values()))
            self._description = ray.get(first.describe.remote())
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """See `Oracle`."""
        known: tuple[ClassificationTask, TaskHandle] | None = ray.get(
            self._registry.task.remote(task.digest)
        )
        if known is not None:
            return known[1]
        first = next(iter(self._replicas.values()))
        handle: TaskHandle = _accept(ray.get(first.register_task.remote(task)))
        ray.get(self._registry.add_task.remote(task, handle))
        return handle

    def register_images(self, pixels_NSS: PixelArray) -> ImageHandle:
        """See `Oracle`."""
        check_pixels(pixels_NSS, self.describe().image_size)
        handle = ImageHandle(digest_of_images(pixels_NSS), len(pixels_NSS))
        if not ray.get(self._registry.has_images.remote(handle.digest)):
            ray.get(self._registry.add_images.remote(handle, pixels_NSS))
        return handle

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """See `Oracle`.

        Raises:
            OracleError: the oracle refuses the question; it is not retried.
            PoolError: a chunk was lost more often than `max_attempts`.
        """
        check_contexts(contexts_KLE, self.describe().embed_dim)
        scheduler = ChunkScheduler(
            split_population(len(contexts_KLE), self._config.candidates_per_chunk),
            rank_replicas(tuple(self._replicas), images.digest),
            self._config.max_chunks_in_flight,
            self._config.max_attempts,
        )
        answers_KNC = np.empty(
            (len(contexts_KLE), images.num_images, task.num_classes), dtype=np.float32
        )
        in_flight: dict[Any, _Flight] = {}
        while not scheduler.finished:
            for assignment in scheduler.assign(time.monotonic()):
                chunk = assignment.chunk
                reference = self._replicas[assignment.replica].predict.remote(
                    task, images, contexts_KLE[chunk.start : chunk.stop], answer
                )
                deadline = time.monotonic() + self._config.chunk_timeout_s
                in_flight[reference] = _Flight(assignment, deadline)
            self._collect(scheduler, in_flight, answers_KNC)
        self.retries += scheduler.retries
        return answers_KNC

    def _collect(
        self, scheduler: ChunkScheduler, in_flight: dict[Any, _Flight], answers_KNC: FloatArray
    ) -> None:
        """Wait for the next answer, loss, timeout or the end of a replica's rest."""
        events = [flight.deadline for flight in in_flight.values()]
        if (wakes_at := scheduler.wakes_at()) is not None:
            events.append(wakes_at)
        patience_s = max(min(events) - time.monotonic(), 0.0)
        if not in_flight:
            time.sleep(patience_s)
            return
        ready, late = ray.wait(list(in_flight), num_returns=1, timeout=patience_s)
        now_s = time.monotonic()
        for reference in ready:
            assignment = in_flight.pop(reference).assignment
            try:
                answer = _accept(ray.get(reference))
            except (RayActorError, RayTaskError) as error:
                scheduler.fail(assignment, str(error).splitlines()[0], now_s)
                continue
            answers_KNC[assignment.chunk.start : assignment.chunk.stop] = answer
            scheduler.complete(assignment)
        for reference in late:
            if in_flight[reference].deadline <= now_s:
                assignment = in_flight.pop(reference).assignment
                reason = f"no answer in {self._config.chunk_timeout_s:g} s"
                scheduler.fail(assignment, reason, now_s)


def _accept(answer: Any) -> Any:
    if isinstance(answer, Refused):
        raise OracleError(answer.message)
    return answer
