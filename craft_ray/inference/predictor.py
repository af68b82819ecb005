"""A tuned classifier with the model that it asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.data.dataset import Item
from craft_ray.errors import DataError, OracleError
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import FloatArray, Images, Oracle, OracleDescription
from craft_ray.oracle.contract_laws import forget
from craft_ray.oracle.loaded import check_loadable, load_here
from craft_ray.task.sending import plain_images

IMAGES_AT_A_TIME = 256
"""Decoded images in memory; 150 KB each at 224 pixels."""

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """What was said of some images.

    Attributes:
        items: those that could be read.
        logits_NC: of them, float32, from which scores are counted.
        unreadable: why others could not.
        given: all of them, in their order.
    """

    items: Sequence[Item]
    logits_NC: FloatArray
    unreadable: Sequence[str]
    given: Sequence[Item] = ()

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of the classes, [N, C]."""
        return softmax(self.logits_NC.astype(np.float64))


@dataclass(frozen=True)
class _Decoded:
    given: Sequence[Item]
    items: Sequence[Item]
    images: Images | None
    """None if there is no item."""
    unreadable: Sequence[str]


class Predictor:
    """Labels images as the classifier was tuned to: the same view of an image, the same prompts,
    the same head. Several threads may ask at a time; no two of them ask the same client.

    Args:
        artifact: the classifier.
        oracle: the model it was tuned for, in any precision.
        others: more clients of the same model, such as of a pool of replicas: as many batches are
            asked about at a time as there are clients.

    Raises:
        ArtifactError: the oracle has other weights.
        OracleError: it does not give the features that the classifier needs.
    """

    def __init__(self, artifact: Artifact, oracle: Oracle, *others: Oracle) -> None:
        description = oracle.describe()
        artifact.check_oracle(description, any_precision=True)
        self.artifact = artifact
        self._has_asked = False
        self.is_as_tuned = description.oracle_id == artifact.oracle_id
        """Whether the model computes as it did when the classifier was tuned, and not in another
        precision: then labels can differ, and the scores on its card are not those of here."""
        self._num_oracles = 1 + len(others)
        self._first = oracle
        self._free: SimpleQueue[Oracle] = SimpleQueue()
        for each in (oracle, *others):
            self._free.put(each)
        self._description = description

    @classmethod
    def load(
        cls, artifact: Artifact, config: AnyOracleConfig, output_dir: Path = Path("runs")
    ) -> Self:
        """Load the model, on a GPU if there is one; or open the gate of an endpoint.

        Args:
            artifact: the classifier.
            config: of the model.
            output_dir: where runs are; answers of an endpoint are kept beside them.

        Raises:
            OracleError: the model cannot be loaded.
            ArtifactError: it has other weights.
        """
        check_is_here(config)
        return cls(artifact, load_here(config, output_dir))

    @property
    def bill(self) -> str | None:
        """What an endpoint was asked for so far, and what that costs, in words; None: the model is
        here."""
        bill = getattr(self._first, "bill", None)
        return None if bill is None else str(bill.words(is_needed=self._has_asked))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.artifact.task.class_names

    @property
    def predictions_per_image(self) -> int:
        """What a metered model would bill for each image."""
        return self.artifact.classifier.predictions_per_image

    def predict(self, items: Iterable[Item]) -> Iterator[Batch]:
        """All images, some at a time and in their order; images that cannot be read are named and
        passed over. While the model answers, the next images are decoded: no more than a few
        batches are in memory, however many items there are."""
        decoded = _ahead(self._decode, _parts(items, IMAGES_AT_A_TIME), number=1)
        if self._num_oracles == 1:
            yield from map(self._ask, decoded)
        else:
            yield from _ahead(self._ask, decoded, number=self._num_oracles)

    def _decode(self, given: Sequence[Item]) -> _Decoded:
        # The model is to see what it was tuned on, whoever has listed these images.
        part = [replace(item, decoding=self.artifact.decoding) for item in given]
        try:
            return _Decoded(part, part, plain_images(part, self._description), [])
        except DataError:
            readable, unreadable = _readable(part, self._description)
        images = plain_images(readable, self._description) if readable else None
        return _Decoded(part, readable, images, unreadable)

    def _ask(self, part: _Decoded) -> Batch:
        if part.images is None:
            nothing = np.empty((0, len(self.class_names)), np.float32)
            return Batch([], nothing, part.unreadable, part.given)
        self._has_asked = True
        oracle = self._free.get()
        try:
            images = oracle.register_images(part.images, keep=False)
            try:
                logits_NC = self.artifact.predict(oracle, images, any_precision=True)
            finally:
                forget(oracle, images)
        finally:
            self._free.put(oracle)
        return Batch(part.items, logits_NC, part.unreadable, part.given)


def check_is_here(config: AnyOracleConfig) -> None:
    """Refuse a model whose files are not on this machine before anything is loaded.

    Raises:
        OracleError: says what is missing, and how to name another place.
    """
    try:
        check_loadable(config)
    except OracleError as error:
        if isinstance(config, EndpointConfig):
            raise
        raise OracleError(
            f"{error}\n  a classifier names the model it was tuned for as it was found there; "
            "another place of the same weights: --set oracle.pretrained=FILE or "
            "--set oracle.model=local-dir:FOLDER (Python: oracle_settings)"
        ) from error


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def _ahead(make: Callable[[Given], Made], given: Iterable[Given], *, number: int) -> Iterator[Made]:
    """`map` in order, where the next `number` are made in threads while one is used."""
    with ThreadPoolExecutor(number) as threads:
        made: deque[Future[Made]] = deque()
        try:
            for each in given:
                made.append(threads.submit(make, each))
                if len(made) > number:
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()
        finally:
            for future in made:
                future.cancel()


def _readable(
    items: Sequence[Item], description: OracleDescription
) -> tuple[list[Item], list[str]]:
    readable, reasons = [], []
    for item in items:
        try:
            plain_images([item], description)
            readable.append(item)
        except DataError as error:
            reasons.append(str(error))
    return readable, reasons
