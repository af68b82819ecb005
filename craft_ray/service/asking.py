"""Questions of many keys to one pool: in chunks, in fair turns, by content."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.config.oracle import PoolConfig
from craft_ray.data.dataset import Item
from craft_ray.data.pixels import PixelArray, plain_pixels
from craft_ray.errors import OracleError
from craft_ray.method.reduction import Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    TaskHandle,
)
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.dispatch import SharedLoad
from craft_ray.pool.passing_sets import PassingSets
from craft_ray.pool.registry import TASK_BYTES_OF_A_DRIVER, TASKS_OF_A_DRIVER, size_of_task
from craft_ray.pool.scheduler import split_population
from craft_ray.service.fair_turns import FairWorkers

IMAGE_SETS = 4096
"""Whose handles are remembered."""
TASKS = TASKS_OF_A_DRIVER // 2
"""Whose handles are remembered, those that were registered last. Fewer than the pool remembers: a
task whose handle is here is known there, however often others are registered meanwhile."""
TASK_BYTES = TASK_BYTES_OF_A_DRIVER // 2


ATTEMPTS = 3
"""To ask about images that others' images have driven out meanwhile."""


@dataclass(frozen=True)
class PixelSet:
    """Images that a question is about.

    Attributes:
        address: of the set, for the key that asks; equal addresses, equal images.
        num_images: N.
        load: reads them, uint8 [N, 3, S, S]; called when they are not in memory.
    """

    address: str
    num_images: int
    load: Callable[[], PixelArray]


class Asker:
    """Answers as the model gives them: the chunks are those of a `PoolOracle`, so the answers are
    the same to the bit, whoever else asks. Turns are by forwards of images and texts, as far as
    these can be told before.

    Args:
        make_client: of the model, for one thread.
        use: whether an image set with this content address is still held for questions.
        candidates_per_chunk: of the pool.
        at_a_time: chunks that are asked at a time, of all keys.
        is_ready: whether anybody answers now; asks nobody's turn.
    """

    def __init__(
        self,
        make_client: Callable[[], Any],
        use: Callable[[str], bool],
        candidates_per_chunk: int,
        at_a_time: int,
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.is_ready = is_ready
        self._make_client, self._use = make_client, use
        self._candidates_per_chunk = candidates_per_chunk
        self._own = threading.local()
        self._description: OracleDescription = self._client().describe()
        self._workers = FairWorkers(at_a_time)
        self._lock = threading.Lock()
        self._sets: OrderedDict[str, ImageHandle] = OrderedDict()
        self._tasks: OrderedDict[str, tuple[TaskHandle, int]] = OrderedDict()
        """And the size of each task."""
        self._task_bytes = 0

    def describe(self) -> OracleDescription:
        """Of the pool."""
        return self._description

    def waiting(self) -> int:
        """Chunks that wait for their turn."""
        return self._workers.waiting()

    def close(self) -> None:
        """What waits is cancelled."""
        self._workers.close()

    def decode(self, data: bytes, name: str) -> PixelArray:
        """An image file as the model sees it, uint8 [3, S, S]; as a viewer shows it, so turned as
        its EXIF says.

        Raises:
            DataError: it cannot be decoded.
        """
        pixels_1SS = plain_pixels([Item(data, 0, name)], self._description.transform)
        pixels_3SS: PixelArray = pixels_1SS[0]
        return pixels_3SS

    def task(self, key: str, task: ClassificationTask) -> Future[TaskHandle]:
        """Register a task in the pool.

        Raises:
            OracleError: in the future: a prompt does not fit.
        """
        with self._lock:
            cost = 1 if task.digest in self._tasks else task.num_texts
        return self._workers.submit(key, lambda: self._registered(task), cost)

    def predict(
        self,
        key: str,
        task: ClassificationTask,
        images: PixelSet,
        contexts_KLE: FloatArray | None,
        answer: Answer = "logits",
    ) -> list[Future[FloatArray]]:
        """Logits, [k, N, C] of each chunk of contexts; None: the task's own words.

        Raises:
            OracleError, PoolError: in the futures.
        """

        def ask(part: slice) -> FloatArray:
            handle, client = self._registered(task), self._client()
            asked = handle.initial_context[None] if contexts_KLE is None else contexts_KLE[part]
            logits_kNC: FloatArray = self._about(
                images, lambda pixels: client.predict(handle, pixels, asked, answer)
            )
            return logits_kNC

        return self._in_chunks(key, task, images, contexts_KLE, ask)

    def score(
        self,
        key: str,
        task: ClassificationTask,
        images: PixelSet,
        contexts_KLE: FloatArray,
        reduction: Reduction,
    ) -> list[Future[npt.NDArray[np.float64]]]:
        """Losses, [k] of each chunk of contexts.

        Raises:
            OracleError, PoolError: in the futures.
        """

        def ask(part: slice) -> npt.NDArray[np.float64]:
            handle, client = self._registered(task), self._client()
            asked = contexts_KLE[part]
            losses_k: npt.NDArray[np.float64] = self._about(
                images, lambda pixels: client.score(handle, pixels, asked, reduction)
            )
            return losses_k

        return self._in_chunks(key, task, images, contexts_KLE, ask)

    def embed_images(self, key: str, images: PixelSet) -> Future[FloatArray]:
        """Features [N, F]."""

        def ask() -> FloatArray:
            features_NF: FloatArray = self._about(images, self._client().embed_images)
            return features_NF

        return self._workers.submit(key, ask, images.num_images)

    def embed_texts(self, key: str, texts: Sequence[str]) -> Future[FloatArray]:
        """Features [M, F]."""
        return self._workers.submit(key, lambda: self._client().embed_texts(texts), len(texts))

    def run(self, key: str, work: Callable[[Any], Any], cost: float) -> Future[Any]:
        """Whatever else is asked, in this key's turn.

        Args:
            key: whose turn.
            work: is given the oracle of the thread that does it.
            cost: in forwards of images and texts.
        """
        return self._workers.submit(key, lambda: work(self._client()), cost)

    def _in_chunks(
        self,
        key: str,
        task: ClassificationTask,
        images: PixelSet,
        contexts: FloatArray | None,
        ask: Callable[[slice], Any],
    ) -> list[Future[Any]]:
        number = 1 if contexts is None else len(contexts)
        with self._lock:
            new_images = 0 if images.address in self._sets else images.num_images
        futures = []
        for chunk in split_population(number, self._candidates_per_chunk):
            cost = new_images + (chunk.stop - chunk.start) * task.num_texts
            part, new_images = slice(chunk.start, chunk.stop), 0
            futures.append(self._workers.submit(key, partial(ask, part), cost))
        return futures

    def _client(self) -> Any:
        """Of this thread."""
        if not hasattr(self._own, "client"):
            self._own.client = self._make_client()
        return self._own.client

    def _registered(self, task: ClassificationTask) -> TaskHandle:
        with self._lock:
            if task.digest in self._tasks:
                return self._tasks[task.digest][0]
        handle: TaskHandle = self._client().register_task(task)
        with self._lock:
            if task.digest not in self._tasks:
                self._tasks[task.digest] = handle, size_of_task(task)
                self._task_bytes += size_of_task(task)
            while len(self._tasks) > TASKS or self._task_bytes > TASK_BYTES:
                _, (_, gone) = self._tasks.popitem(last=False)
                self._task_bytes -= gone
        return handle

    def _about(self, images: PixelSet, ask: Callable[[ImageHandle], Any]) -> Any:
        """Images are read when nobody has them; they may be forgotten between two questions, and,
        where others bring many, before the question that they were read for."""
        for attempt in range(ATTEMPTS):
            with self._lock:
                handle = self._sets.get(images.address)
            if handle is None or not self._use(handle.digest):
                handle = self._client().register_images(images.load(), keep=False)
                with self._lock:
                    self._sets[images.address] = handle
                    self._sets.move_to_end(images.address)
                    while len(self._sets) > IMAGE_SETS:
                        self._sets.popitem(last=False)
            try:
                return ask(handle)
            except OracleError:
                if attempt == ATTEMPTS - 1 or self._use(handle.digest):
                    raise  # it is the question that is wrong
        raise AssertionError("the last attempt returns or raises")


def pool_asker(address: PoolAddress, config: PoolConfig, at_a_time: int, max_bytes: int) -> Asker:
    """Of a pool that is up.

    Args:
        address: of the pool.
        config: of it.
        at_a_time: chunks that are asked at a time.
        max_bytes: of images that are held for questions about them.

    Raises:
        PoolError: the pool is not running.
    """
    passing, load = PassingSets(IMAGE_SETS, max_bytes), SharedLoad()
    looking = PoolOracle(address, config)
    return Asker(
        lambda: PoolOracle(address, config, passing, load),
        passing.use,
        config.candidates_per_chunk,
        at_a_time,
        looking.is_ready,
    )


def set_address(key_id: str, digests: Sequence[str]) -> str:
    """Of images by their digests, in this order."""
    return hashlib.sha256(f"{key_id} {' '.join(digests)}".encode()).hexdigest()


def stacked(arrays: Sequence[bytes], size: int) -> PixelArray:
    """Pixels that were stored as bytes, uint8 [N, 3, size, size].

    Raises:
        OracleError: one has another length.
    """
    pixels_NSS = np.empty((len(arrays), 3, size, size), np.uint8)
    for row, data in enumerate(arrays):
        if len(data) != pixels_NSS[row].nbytes:
            raise OracleError(f"images: number {row} was stored for another model")
        pixels_NSS[row] = np.frombuffer(data, np.uint8).reshape(3, size, size)
    return pixels_NSS
