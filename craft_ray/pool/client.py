"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from craft_ray.pool.address import PoolAddress, Refused
from craft_ray.pool.scheduler import (
    Assignment,
    Chunk,
    ChunkScheduler,
    rank_replicas,
    split_population,
)


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
            self._description = ray.get(self._registry.describe.remote())
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """See `Oracle`."""
        known = ray.get(self._registry.task.remote(task.digest))
        if known is not None:
            registered: TaskHandle = known[1]
            return registered
        answers: list[TaskHandle] = []
        self._ask(
            split_population(1, 1),
            key=task.digest,
            submit=lambda replica, _: replica.register_task.remote(task),
            receive=lambda _, handle: answers.append(handle),
        )
        ray.get(self._registry.add_task.remote(task, answers[0]))
        return answers[0]

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
        shape = (len(contexts_KLE), images.num_images, task.num_classes)
        answers_KNC = np.empty(shape, dtype=np.float32)

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.predict.remote(task, images, part, answer)

        def receive(chunk: Chunk, logits: FloatArray) -> None:
            answers_KNC[chunk.start : chunk.stop] = logits

        chunks = split_population(len(contexts_KLE), self._config.candidates_per_chunk)
        self._ask(chunks, images.digest, submit, receive)
        return answers_KNC

    def _ask(
        self,
        chunks: Sequence[Chunk],
        key: str,
        submit: Callable[[Any, Chunk], Any],
        receive: Callable[[Chunk, Any], None],
    ) -> None:
        """Have every chunk answered once; `key` decides which replica is preferred."""
        scheduler = ChunkScheduler(
            chunks,
            rank_replicas(tuple(self._replicas), key),
            self._config.max_chunks_in_flight,
            self._config.max_attempts,
        )
        in_flight: dict[Any, _Flight] = {}
        while not scheduler.finished:
            now_s = time.monotonic()
            for assignment in scheduler.assign(now_s):
                reference = submit(self._replicas[assignment.replica], assignment.chunk)
                in_flight[reference] = _Flight(assignment, now_s + self._config.chunk_timeout_s)
            self._collect(scheduler, in_flight, receive)
        self.retries += scheduler.retries

    def _collect(
        self,
        scheduler: ChunkScheduler,
        in_flight: dict[Any, _Flight],
        receive: Callable[[Chunk, Any], None],
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
                answer = ray.get(reference)
            except (RayActorError, RayTaskError) as error:
                scheduler.fail(assignment, str(error).splitlines()[0], now_s)
                continue
            if isinstance(answer, Refused):
                raise OracleError(answer.message)
            receive(assignment.chunk, answer)
            scheduler.complete(assignment)
        for reference in late:
            if in_flight[reference].deadline <= now_s:
                assignment = in_flight.pop(reference).assignment
                reason = f"no answer in {self._config.chunk_timeout_s:g} s"
                scheduler.fail(assignment, reason, now_s)
