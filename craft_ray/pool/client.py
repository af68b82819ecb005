"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import PoolError
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
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.answers import AnswerSheet
from craft_ray.pool.dispatch import Dispatcher, Submit
from craft_ray.pool.metrics import ClientTotals
from craft_ray.pool.scheduler import Chunk, split_population

INLINE_BYTES = 100_000
"""Up to this size Ray sends an argument by value in any case."""

PASSING_SETS = 2
"""Image sets with `keep=False` that can be asked about: the one in work, and the next."""


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
        self._dispatcher = Dispatcher(address, config)
        self._passing: OrderedDict[str, ray.ObjectRef[Any]] = OrderedDict()

    @property
    def totals(self) -> ClientTotals:
        """What this client's chunks have cost so far."""
        return self._dispatcher.metrics.totals

    def describe(self) -> OracleDescription:
        return self._dispatcher.describe()

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        known = self._dispatcher.of_registry("task", task.digest)
        if known is not None:
            registered: TaskHandle = known[1]
            return registered
        handle: TaskHandle = self._ask_once(
            task.digest, lambda replica: replica.register_task.remote(task)
        )
        self._dispatcher.of_registry("add_task", task, handle)
        return handle

    def register_images(self, pixels_NSS: PixelArray, *, keep: bool = True) -> ImageHandle:
        """What is kept belongs to the pool; the last `PASSING_SETS` others belong to this client,
        and travel with its questions."""
        check_pixels(pixels_NSS, self.describe().image_size)
        handle = ImageHandle(digest_of_images(pixels_NSS), len(pixels_NSS))
        if keep:
            if not self._dispatcher.of_registry("has_images", handle.digest):
                self._dispatcher.of_registry("add_images", handle, pixels_NSS)
            return handle
        self._passing[handle.digest] = self._passing.pop(handle.digest, None) or ray.put(pixels_NSS)
        while len(self._passing) > PASSING_SETS:
            self._passing.popitem(last=False)
        return handle

    def expect(self, images: ImageHandle) -> None:
        """The replica that will be asked first encodes them meanwhile."""
        with suppress(PoolError, RayError):  # the question itself will tell
            if replica := self._dispatcher.preferred(images.digest):
                replica.expect.remote(images, self._pixels(images))

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
        pixels = self._pixels(images)

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.predict.remote(task, images, pixels, part, answer)

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
        pixels = self._pixels(images)
        # A small one travels with each chunk: fetching it from the object store would cost every
        # chunk a round trip at the replica (measured: 20 ms on a busy machine).
        is_large = reduction.num_bytes > INLINE_BYTES
        sent = ray.put(reduction) if is_large else reduction

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.score.remote(task, images, pixels, part, sent)

        self._ask_candidates(images, submit, losses_K, on_part)
        return losses_K

    def image_features(self, images: ImageHandle) -> FloatArray:
        """Of `WhiteBoxOracle`; one replica answers.

        Raises:
            OracleError: the oracle is a black box, or as `predict`.
        """
        pixels = self._pixels(images)
        answer = self._ask_once(
            images.digest, lambda replica: replica.image_features.remote(images, pixels)
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
        pixels = self._pixels(images)
        answer = self._ask_once(
            images.digest,
            lambda replica: replica.context_gradient.remote(
                task, images, pixels, context_LE, labels_N
            ),
        )
        loss_and_gradient: tuple[float, FloatArray] = answer
        return loss_and_gradient

    def _pixels(self, images: ImageHandle) -> list[ray.ObjectRef[Any]]:
        """What a replica that does not know the images reads them from, if not the registry."""
        return [self._passing[images.digest]] if images.digest in self._passing else []

    def _ask_once(self, key: str, submit: Callable[[Any], Any]) -> Any:
        """The answer to a question without candidates."""
        answers: list[Any] = []
        self._dispatcher.ask(
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
        self._dispatcher.ask(chunks, images.digest, submit, sheet.receive)
