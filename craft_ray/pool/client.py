"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

from collections.abc import Sequence
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
    Images,
    LossArray,
    OnPart,
    OracleDescription,
    TaskHandle,
    ignore_part,
)
from craft_ray.oracle.contract_laws import (
    check_contexts,
    check_images,
    check_reduction,
    digest_of_images,
)
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.answers import AnswerSheet
from craft_ray.pool.cluster import this_driver
from craft_ray.pool.dispatch import Dispatcher, SharedLoad
from craft_ray.pool.metrics import ClientTotals
from craft_ray.pool.passing_sets import PassingSets
from craft_ray.pool.scheduler import Chunk, split_population

INLINE_BYTES = 100_000
"""Up to this size Ray sends an argument by value in any case."""


class PoolOracle:
    """Splits a query into chunks, sends them to replicas, retries what is lost.

    Implements `WhiteBoxOracle`: what the hosted oracle does not serve is refused.

    Args:
        address: the pool.
        config: chunk size, back-pressure, attempts and timeout.
        passing: image sets that are not kept by the pool; several clients of a process may share
            them.
        load: of the replicas; several clients of a process may share it.

    Raises:
        PoolError: the pool is not running.
    """

    def __init__(
        self,
        address: PoolAddress,
        config: PoolConfig,
        passing: PassingSets | None = None,
        load: SharedLoad | None = None,
    ) -> None:
        self._config = config
        self._dispatcher = Dispatcher(address, config, load)
        self._passing = passing or PassingSets()
        self._driver = this_driver()

    @property
    def totals(self) -> ClientTotals:
        """What this client's chunks have cost so far."""
        return self._dispatcher.metrics.totals

    def describe(self) -> OracleDescription:
        return self._dispatcher.describe()

    def is_ready(self) -> bool:
        """Whether there is somebody who answers."""
        try:
            return bool(self._dispatcher.of_registry("members"))
        except PoolError:
            return False

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        known = self._dispatcher.of_registry("task", task.digest, self._driver)
        if known is not None:
            registered: TaskHandle = known[1]
            return registered
        handle: TaskHandle = self._ask_once("register_task", None, None, task)
        self._dispatcher.of_registry("add_task", task, handle, self._driver)
        return handle

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """What is kept belongs to the pool; others are `PassingSets`, and travel with the
        questions about them."""
        check_images(images, self.describe())
        handle = ImageHandle(digest_of_images(images), len(images))
        if keep:
            if not self._dispatcher.of_registry("images", handle.digest, self._driver):
                self._dispatcher.of_registry("add_images", handle, images, self._driver)
            return handle
        self._passing.add(handle.digest, images)
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
        self._ask_candidates(
            "predict", task, images, contexts_KLE, answer, AnswerSheet(answers_KNC)
        )
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
        sheet = AnswerSheet(losses_K, on_part)
        self._ask_candidates("score", task, images, contexts_KLE, sent, sheet)
        return losses_K

    def embed_images(self, images: ImageHandle) -> FloatArray:
        """One replica answers.

        Raises:
            OracleError: features are not served, or as `predict`.
        """
        features: FloatArray = self._ask_once("embed_images", None, images)
        return features

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """One replica answers.

        Raises:
            OracleError: features are not served, there is no text, or one is too long.
        """
        features: FloatArray = self._ask_once("embed_texts", None, None, tuple(texts))
        return features

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """One replica answers.

        Raises:
            OracleError: the oracle is a black box, or as `predict`.
        """
        loss_and_gradient: tuple[float, FloatArray] = self._ask_once(
            "context_gradient", task, images, context_LE, labels_N
        )
        return loss_and_gradient

    def _pixels(self, images: ImageHandle | None) -> list[ray.ObjectRef[Any]]:
        """What a replica that does not know the images reads them from, if not the registry."""
        return [] if images is None else self._passing.find(images.digest)

    def _ask_once(
        self, method: str, task: TaskHandle | None, images: ImageHandle | None, *arguments: Any
    ) -> Any:
        """The answer to a question without candidates."""
        pixels = self._pixels(images)
        answers: list[Any] = []
        self._dispatcher.ask(
            [Chunk(index=0, start=0, stop=0)],
            images.digest if images is not None else method,
            lambda replica, _: replica.answer.remote(method, task, images, pixels, *arguments),
            lambda _, answer: answers.append(answer),
        )
        return answers[0]

    def _ask_candidates(
        self,
        method: str,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        argument: Any,
        sheet: AnswerSheet,
    ) -> None:
        """Fill the sheet, which has a row for each candidate."""
        pixels = self._pixels(images)

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            return replica.answer.remote(method, task, images, pixels, part, argument)

        chunks = split_population(len(contexts_KLE), self._config.candidates_per_chunk)
        self._dispatcher.ask(chunks, images.digest, submit, sheet.receive)
