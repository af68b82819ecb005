"""`PoolOracle`: the oracle's contract, answered by the replicas of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from craft_ray.config.oracle import PoolConfig
from craft_ray.data.recipe import Recipe
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
from craft_ray.pool.passing_sets import MOST_SETS, PassingSets
from craft_ray.pool.scheduler import Chunk, split_question
from craft_ray.pool.sent_images import Sent

MOST_QUESTIONS = 32
"""At once of one process, each in a thread of its own."""
INLINE_BYTES = 100_000
"""Up to this size Ray sends an argument by value in any case."""


class PoolOracle:
    """Splits a query into chunks, sends them to replicas, retries what is lost.

    Implements `WhiteBoxOracle`: what the hosted oracle does not serve is refused. Several threads
    may ask at once.

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
        ask = self._dispatcher.of_registry
        if keep:
            if isinstance(images, Recipe):
                if not ask("add_plan", images.plan, None, self._driver):
                    ask("add_plan", images.plan, images.pack(), self._driver)
            elif ask("images", handle.digest, self._driver) is None:
                ask("add_images", handle.digest, images, self._driver)
            return handle
        if not self._passing.use(handle.digest):
            files = None
            if isinstance(images, Recipe):
                files = ask("files", images.plan.files_digest)
            if self.describe().takes_recipes:  # who asks may be several threads
                self._passing.most = max(self._passing.most, MOST_SETS)
            self._passing.add(handle.digest, images, files)
        return handle

    def forget(self, images: ImageHandle) -> None:
        for digest in images.registered:
            self._passing.drop(digest)

    def questions_at_once(self) -> int:
        """As many as there are replicas, or may become, up to `MOST_QUESTIONS`."""
        most = max(len(self._dispatcher.members()), self._config.max_replicas or 1)
        return min(most, MOST_QUESTIONS)

    def give_up(self) -> None:
        self._dispatcher.give_up()

    def expect(self, images: ImageHandle) -> None:
        """The replica that will be asked first encodes them meanwhile. Of several sets in a row
        nothing is done: by the time of the question they may have other homes."""
        with suppress(PoolError, RayError):  # the question itself will tell
            if not images.blocks and (replica := self._dispatcher.preferred(images.digest)):
                replica.expect.remote(images, self._sent(images))

    def prepare(self, recipe: Recipe) -> None:
        """Replicas prepare what they are asked about; nothing is to be said before."""

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
        blocks = _blocks_of(images)
        num_chunks = -(-len(contexts_KLE) // self._config.candidates_per_chunk)
        if num_chunks >= self.questions_at_once():
            # All have work, and each text is encoded once.
            blocks = [images]
        sheet = AnswerSheet(answers_KNC, blocks=_places_of(blocks))
        self._ask_candidates("predict", task, blocks, contexts_KLE, answer, sheet)
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
        # Not split by images: each part would encode the candidates' texts, nearly all of the work.
        self._ask_candidates("score", task, [images], contexts_KLE, sent, sheet)
        return losses_K

    def embed_images(self, images: ImageHandle) -> FloatArray:
        """Each registered set by one replica.

        Raises:
            OracleError: features are not served, or as `predict`.
        """
        blocks = _blocks_of(images)
        features = self._ask_about("embed_images", None, blocks)
        return np.concatenate([features[place] for place in range(len(blocks))])

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

    def _sent(self, images: ImageHandle | None) -> Sent:
        """Which of the sets a replica that does not know them finds here, and not at the
        registry."""
        digests = () if images is None else images.registered
        found = {digest: self._passing.find(digest) for digest in digests}
        return {digest: sent for digest, sent in found.items() if sent is not None}

    def _ask_once(
        self, method: str, task: TaskHandle | None, images: ImageHandle | None, *arguments: Any
    ) -> Any:
        """The answer to a question without candidates."""
        return self._ask_about(method, task, [images], *arguments)[0]

    def _ask_about(
        self,
        method: str,
        task: TaskHandle | None,
        blocks: Sequence[ImageHandle | None],
        *arguments: Any,
    ) -> dict[int, Any]:
        """The same of several image sets, by their places."""
        answers: dict[int, Any] = {}
        keys = [method if block is None else block.digest for block in blocks]

        def submit(replica: Any, chunk: Chunk) -> Any:
            images = blocks[chunk.block]
            return replica.answer.remote(method, task, images, self._sent(images), *arguments)

        def receive(chunk: Chunk, answer: Any) -> None:
            answers[chunk.block] = answer

        self._dispatcher.ask(split_question(0, 1, keys), keys[0], submit, receive)
        return answers

    def _ask_candidates(
        self,
        method: str,
        task: TaskHandle,
        blocks: Sequence[ImageHandle],
        contexts_KLE: FloatArray,
        argument: Any,
        sheet: AnswerSheet,
    ) -> None:
        """Fill the sheet, which has a row for each candidate."""
        sent = [self._sent(block) for block in blocks]

        def submit(replica: Any, chunk: Chunk) -> Any:
            part = contexts_KLE[chunk.start : chunk.stop]
            images, of_images = blocks[chunk.block], sent[chunk.block]
            if len(blocks) > 1 and chunk.start == 0:
                replica.prepare.remote(images, of_images)
            return replica.answer.remote(method, task, images, of_images, part, argument)

        # What the pool keeps is asked about again, perhaps.
        keys = [None if held else block.digest for block, held in zip(blocks, sent, strict=True)]
        chunks = split_question(len(contexts_KLE), self._config.candidates_per_chunk, keys)
        self._dispatcher.ask(chunks, blocks[0].digest, submit, sheet.receive)


def _blocks_of(images: ImageHandle) -> Sequence[ImageHandle]:
    """What is asked about in chunks of their own: the registered sets, or the chosen rows of
    them."""
    return images.blocks if images.rows is None and images.blocks else [images]


def _places_of(blocks: Sequence[ImageHandle]) -> list[slice]:
    """Where the images of each are among all."""
    stops = np.cumsum([block.num_images for block in blocks]).tolist()
    return [slice(stop - block.num_images, stop) for block, stop in zip(blocks, stops, strict=True)]
