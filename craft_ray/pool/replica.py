"""The actor that hosts one copy of the model. Which model is decided by the factory it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import ray

from craft_ray.errors import OracleError
from craft_ray.method.reduction import LabelArray, Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    ExpectingOracle,
    FloatArray,
    ImageHandle,
    OracleDescription,
    ScoringOracle,
    TaskHandle,
    WhiteBoxOracle,
    check_white_box,
)
from craft_ray.pool.address import Answered, Refused
from craft_ray.pool.metrics import ReplicaMetrics


class HostedOracle(ScoringOracle, Protocol):
    """What a replica can host: an oracle that tells what it has been given."""

    @property
    def num_images_encoded(self) -> int:
        """Images that have been encoded so far."""
        ...

    def knows(self, digest: str) -> bool:
        """Whether a task or an image set with this content address is registered."""
        ...


OracleFactory = Callable[[], HostedOracle]


@dataclass(frozen=True)
class ReplicaStats:
    """Totals since the replica was (re)started."""

    chunks: int
    candidates: int
    images_encoded: int
    busy_s: float
    alive_s: float

    @property
    def utilisation(self) -> float:
        """Share of its time in which it worked."""
        return self.busy_s / self.alive_s


class OracleReplica:
    """A plain class around an oracle; the pool wraps it with `ray.remote`.

    Args:
        make_oracle: loads the model; runs in the actor.
        name: of this actor.
        registry: name of the pool's `Registry`, in this actor's namespace; asked when a task or an
            image set is new here, also after a restart. A handle in its place would live in the
            object store, and with it the chance to restart this actor.
    """

    def __init__(self, make_oracle: OracleFactory, name: str, registry: str) -> None:
        self._registry: Any = ray.get_actor(registry)
        self._oracle = make_oracle()
        self._metrics = ReplicaMetrics(name)
        self._started_s = time.monotonic()
        self._chunks = self._candidates = 0
        self._busy_s = 0.0

    def describe(self) -> OracleDescription:
        return self._oracle.describe()

    def stats(self) -> ReplicaStats:
        """What this replica has done."""
        return ReplicaStats(
            chunks=self._chunks,
            candidates=self._candidates,
            images_encoded=self._oracle.num_images_encoded,
            busy_s=self._busy_s,
            alive_s=time.monotonic() - self._started_s,
        )

    def register_task(self, task: ClassificationTask) -> Answered | Refused:
        return self._serve(0, lambda: self._oracle.register_task(task))

    def expect(self, images: ImageHandle) -> None:
        """Encode them, if the oracle can; nobody waits for it."""
        if not self._oracle.describe().expects:
            return

        def work() -> None:
            self._fetch_images(images)
            cast(ExpectingOracle, self._oracle).expect(images)

        self._serve(0, work)

    def predict(
        self, task: TaskHandle, images: ImageHandle, contexts_KLE: FloatArray, answer: Answer
    ) -> Answered | Refused:

        def work() -> FloatArray:
            self._fetch_what_is_missing(task, images)
            return self._oracle.predict(task, images, contexts_KLE, answer)

        return self._serve(len(contexts_KLE), work)

    def score(
        self, task: TaskHandle, images: ImageHandle, contexts_KLE: FloatArray, reduction: Reduction
    ) -> Answered | Refused:

        def work() -> Any:
            self._fetch_what_is_missing(task, images)
            return self._oracle.score(task, images, contexts_KLE, reduction)

        return self._serve(len(contexts_KLE), work)

    def image_features(self, images: ImageHandle) -> Answered | Refused:

        def work() -> FloatArray:
            self._fetch_images(images)
            return self._open().image_features(images)

        return self._serve(0, work)

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> Answered | Refused:

        def work() -> tuple[float, FloatArray]:
            self._fetch_what_is_missing(task, images)
            return self._open().context_gradient(task, images, context_LE, labels_N)

        return self._serve(0, work)

    def _open(self) -> WhiteBoxOracle:
        check_white_box(self._oracle.describe())
        return cast(WhiteBoxOracle, self._oracle)

    def _serve(self, num_candidates: int, work: Callable[[], Any]) -> Answered | Refused:
        started = time.perf_counter()
        encoded_before = self._oracle.num_images_encoded
        try:
            answer: Answered | Refused = Answered(work(), time.perf_counter() - started)
        except OracleError as error:
            answer = Refused(str(error))
        service_s = time.perf_counter() - started
        self._chunks += 1
        self._candidates += num_candidates
        self._busy_s += service_s
        encoded = self._oracle.num_images_encoded - encoded_before
        self._metrics.record(num_candidates, encoded, service_s)
        return answer

    def _fetch_what_is_missing(self, task: TaskHandle, images: ImageHandle) -> None:
        if not self._oracle.knows(task.digest):
            known = ray.get(self._registry.task.remote(task.digest))
            if known is not None:
                self._oracle.register_task(known[0])
        self._fetch_images(images)

    def _fetch_images(self, images: ImageHandle) -> None:
        if not self._oracle.knows(images.digest):
            for reference in ray.get(self._registry.images.remote(images.digest)):
                self._oracle.register_images(ray.get(reference))
