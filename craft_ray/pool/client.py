"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.method.reduction import LabelArray, Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    LossArray,
    OnPart,
    OracleDescription,
    PixelArray,
    TaskHandle,
    check_contexts,
    check_pixels,
    check_reduction,
    digest_of_images,
    ignore_part,
)
from craft_ray.pool.address import PoolAddress, Refused
from craft_ray.pool.answers import AnswerSheet, BadAnswerError
from craft_ray.pool.demand import LoadMeter
from craft_ray.pool.metrics import ClientMetrics, ClientTotals
from craft_ray.pool.scheduler import (
    Assignment,
    Chunk,
    ChunkScheduler,
    rank_replicas,
    split_population,
)

INLINE_BYTES = 100_000
"""Up to this size Ray sends an argument by value in any case."""

MEMBERS_VALID_S = 1.0
"""How long the list of replicas is believed."""

Submit = Callable[[Any, Chunk], Any]
Receive = Callable[[Chunk, Any], None]


@dataclass(frozen=True)
class _Flight:
    assignment: Assignment
    submitted_s: float


class PoolOracle:
    """Splits a query into chunks, sends them to replicas, retries what is lost.

    Implements `WhiteBoxOracle`: what the hosted oracle does not serve is refused.

    Args:
        address: the pool.
        config: chunk size, back-pressure, attempts and timeout.

    Raises:
        PoolError: the pool is not running.
    """

    def __init__(self, address: PoolAddress, config: PoolConfig) -> None:
        self._config = config
        self._address = address
        try:
            self._registry = ray.get_actor(address.registry, namespace=address.namespace)
        except ValueError as error:
            raise PoolError(f"the oracle pool is not running: {error}") from error
        self._description: OracleDescription | None = None
        self._metrics = ClientMetrics()
        self._load = LoadMeter()
        self._replicas: dict[str, Any] = {}
        self._members_read_s = float("-inf")

    @property
    def totals(self) -> ClientTotals:
        """What this client's chunks have cost so far."""
        return self._metrics.totals

    def describe(self) -> OracleDescription:
        if self._description is None:
            self._description = ray.get(self._registry.describe.remote())
        return self._description

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        known = ray.get(self._registry.task.remote(task.digest))
        if known is not None:
            registered: TaskHandle = known[1]
            return registered
        handle: TaskHandle = self._ask_once(
            task.digest, lambda replica: replica.register_task.remote(task)
        )
        ray.get(self._registry.add_task.remote(task, handle))
        return handle

    def register_images(self, pixels_NSS: PixelArray, *, keep: bool = True) -> ImageHandle:
        check_pixels(pixels_NSS, self.describe().image_size)
        handle = ImageHandle(digest_of_images(pixels_NSS), len(pixels_NSS))
        if not ray.get(self._registry.has_images.remote(handle.digest)):
            ray.get(self._registry.add_images.remote(handle, pixels_NSS, keep))
        return handle

    def expect(self, images: ImageHandle) -> None:
        """The replica that will be asked first encodes them meanwhile."""
        if members := self._members():
            first = rank_replicas(members, images.digest)[0]
            self._replicas[first].expect.remote(images)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """Answered in chunks by the replicas.

        Raises:
            OracleError: the oracle refuses the question; it is not retried.
            PoolError: a chunk was lost more often than `max_attempts`.
        """
        check_contexts(contexts_KLE, self.describe().embed_dim, task.num_classes)
        shape = (len(contexts_KLE), images.num_images, task.num_classes)
        answers_KNC = np.empty(shape, dtype=np.float32)

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.predict.remote(task, images, part, answer)

        self._ask_candidates(images, submit, answers_KNC)
        return answers_KNC

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        """What travels back is one number a candidate.

        Raises:
            OracleError, PoolError: as `predict`.
        """
        check_contexts(contexts_KLE, self.describe().embed_dim, task.num_classes)
        check_reduction(reduction, images, task)
        losses_K = np.empty(len(contexts_KLE), dtype=np.float64)
        # A small one travels with each chunk: fetching it from the object store would cost every
        # chunk a round trip at the replica (measured: 20 ms on a busy machine).
        is_large = reduction.num_bytes > INLINE_BYTES
        sent = ray.put(reduction) if is_large else reduction

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.score.remote(task, images, part, sent)

        self._ask_candidates(images, submit, losses_K, on_part)
        return losses_K

    def image_features(self, images: ImageHandle) -> FloatArray:
        """Of `WhiteBoxOracle`; one replica answers.

        Raises:
            OracleError: the oracle is a black box, or as `predict`.
        """
        answer = self._ask_once(
            images.digest, lambda replica: replica.image_features.remote(images)
        )
        features: FloatArray = answer
        return features

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """One replica answers.

        Raises:
            OracleError: the oracle is a black box, or as `predict`.
        """
        answer = self._ask_once(
            images.digest,
            lambda replica: replica.context_gradient.remote(task, images, context_LE, labels_N),
        )
        loss_and_gradient: tuple[float, FloatArray] = answer
        return loss_and_gradient

    def _ask_once(self, key: str, submit: Callable[[Any], Any]) -> Any:
        """The answer to a question without candidates."""
        answers: list[Any] = []
        self._ask(
            [Chunk(index=0, start=0, stop=0)],
            key,
            submit=lambda replica, _: submit(replica),
            receive=lambda _, answer: answers.append(answer),
        )
        return answers[0]

    def _ask_candidates(
        self,
        images: ImageHandle,
        submit: Submit,
        answers_K: np.ndarray[Any, Any],
        on_part: Callable[[int, Any], None] = ignore_part,
    ) -> None:
        """Fill the rows of `answers_K`, one for each candidate."""
        chunks = split_population(len(answers_K), self._config.candidates_per_chunk)
        sheet = AnswerSheet(answers_K, on_part)
        self._ask(chunks, images.digest, submit, sheet.receive)

    def _ask(self, chunks: Sequence[Chunk], key: str, submit: Submit, receive: Receive) -> None:
        """Have every chunk answered once; `key` decides which replica is preferred."""
        members = self._members()
        scheduler = ChunkScheduler(
            chunks,
            rank_replicas(members, key),
            self._config.max_chunks_in_flight,
            self._config.max_attempts,
        )
        in_flight: dict[Any, _Flight] = {}
        last_seen_s = time.monotonic()
        self._load.start(last_seen_s)
        while not scheduler.finished:
            present, now_s = self._members(), time.monotonic()
            if present != members:
                members = present
                scheduler.set_replicas(rank_replicas(members, key), now_s)
            if members:
                last_seen_s = now_s
            elif now_s - last_seen_s > self._config.start_timeout_s:
                raise PoolError(f"the pool has had no replica for {now_s - last_seen_s:.0f} s")
            for assignment in scheduler.assign(now_s):
                reference = submit(self._replicas[assignment.replica], assignment.chunk)
                in_flight[reference] = _Flight(assignment, now_s)
            waiting = scheduler.num_unfinished
            self._collect(scheduler, in_flight, receive)
            self._load.waited(waiting, time.monotonic())
        self._metrics.record_retries(scheduler.retries)

    def _members(self) -> list[str]:
        """The replicas of the pool, read again now and then: they come and go."""
        if time.monotonic() - self._members_read_s > MEMBERS_VALID_S:
            names = ray.get(self._registry.members.remote(self._load.take()))
            for name in names:
                if name not in self._replicas:
                    self._replicas[name] = ray.get_actor(name, namespace=self._address.namespace)
            self._replicas = {name: self._replicas[name] for name in names}
            self._members_read_s = time.monotonic()
        return list(self._replicas)

    def _collect(
        self, scheduler: ChunkScheduler, in_flight: dict[Any, _Flight], receive: Receive
    ) -> None:
        """Wait for the next answer, loss, timeout, or the end of a replica's rest."""
        timeout_s = self._config.chunk_timeout_s
        events = [flight.submitted_s + timeout_s for flight in in_flight.values()]
        events.append(self._members_read_s + MEMBERS_VALID_S)
        if (wakes_at := scheduler.wakes_at()) is not None:
            events.append(wakes_at)
        patience_s = max(min(events) - time.monotonic(), 0.0)
        if not in_flight:
            time.sleep(patience_s)
            return
        if ray.wait(list(in_flight), num_returns=1, timeout=patience_s)[0]:
            # Others may have come meanwhile: one look for all of them.
            ready, late = ray.wait(list(in_flight), num_returns=len(in_flight), timeout=0)
        else:
            ready, late = [], list(in_flight)
        now_s = time.monotonic()
        for reference in ready:
            flight = in_flight.pop(reference)
            try:
                answer = ray.get(reference)
            except RayError as error:  # the replica, its node or the answer on the way was lost
                scheduler.fail(flight.assignment, str(error).splitlines()[0], now_s)
                self._members_read_s = float("-inf")  # the replica may be gone for good
                continue
            if isinstance(answer, Refused):
                raise OracleError(answer.message)
            try:
                receive(flight.assignment.chunk, answer.value)
            except BadAnswerError as error:
                scheduler.fail(flight.assignment, str(error), now_s)
                continue
            scheduler.complete(flight.assignment)
            if num_candidates := flight.assignment.chunk.stop - flight.assignment.chunk.start:
                wait_s = now_s - flight.submitted_s - answer.service_s
                self._metrics.record(
                    num_candidates, self._config.candidates_per_chunk, answer.service_s, wait_s
                )
        for reference in late:
            flight = in_flight[reference]
            if scheduler.is_overdue(flight.assignment, now_s):
                reason = "it is no member of the pool any more"
            elif flight.submitted_s + timeout_s <= now_s:
                reason = f"no answer in {timeout_s:g} s"
            else:
                continue
            del in_flight[reference]
            scheduler.fail(flight.assignment, reason, now_s)
