"""Many images that a model is asked about once each, plain: which can be read, and the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from craft_ray.data.check import read_and_decode
from craft_ray.data.dataset import Item
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle
from craft_ray.oracle.contract_laws import check_finite
from craft_ray.task.sending import plain_images

IMAGES_AT_A_TIME = 256
Progress = Callable[[int], None]
"""Is told how many images are done since it was told last."""


def no_progress(_: int) -> None:
    """For those who show none."""


def digests_of(items: Sequence[Item], progress: Progress = no_progress) -> Iterator[bytes | None]:
    """Of each image the hash of its file, in order; None if it cannot be decoded."""
    for digest in map_in_threads(_digest, items):
        progress(1)
        yield digest


def _digest(item: Item) -> bytes | None:
    try:
        return read_and_decode(item)[0]
    except DataError:
        return None


def ask_logits(
    oracle: MeteredOracle,
    task: ClassificationTask,
    items: Sequence[Item],
    progress: Progress = no_progress,
) -> FloatArray:
    """The answers under the template's own words, [N, names]. Blocks until all are answered; a few
    hundred decoded images are in memory at a time.

    Raises:
        OracleError: a name does not fit, the oracle fails, or an answer is not finite.
        DataError: an image cannot be read any more.
    """
    handle = oracle.register_task(task)
    context_1LE = handle.initial_context[None]

    def ask(images: ImageHandle) -> FloatArray:
        answers_1NF = oracle.predict(handle, images, context_1LE, purpose="evaluation")
        logits_NF: FloatArray = answers_1NF[0]
        return logits_NF

    return _in_parts(oracle, items, ask, progress)


def ask_features(
    oracle: MeteredOracle, items: Sequence[Item], progress: Progress = no_progress
) -> FloatArray:
    """The features of the images, [N, F]; blocks and raises as `ask_logits` does."""

    def ask(images: ImageHandle) -> FloatArray:
        return oracle.embed_images(images, purpose="evaluation")

    return _in_parts(oracle, items, ask, progress)


def _in_parts(
    oracle: MeteredOracle,
    items: Sequence[Item],
    ask: Callable[[ImageHandle], FloatArray],
    progress: Progress,
) -> FloatArray:
    description = oracle.describe()
    answers = []
    for start in range(0, len(items), IMAGES_AT_A_TIME):
        part = items[start : start + IMAGES_AT_A_TIME]
        images = oracle.register_images(plain_images(part, description), keep=False)
        try:
            said = ask(images)
        finally:
            oracle.forget(images)
        check_finite(said, "a comparison of images")
        answers.append(said)
        progress(len(part))
    return np.concatenate(answers)
