"""ImageNet's shape without ImageNet: photographs that are made when they are read, and an oracle
that decodes them for real and sleeps in place of the towers of a GPU."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.recipe import Recipe
from craft_ray.method.reduction import Reduction
from craft_ray.method.scoring import reduce_logits
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
from craft_ray.oracle.contract_laws import digest_of_images
from craft_ray.oracle.images import ImageStore, Source

IMAGE_SIZE = 224
WIDTH, HEIGHT = 500, 375
NUM_PICTURES = 32
FEATURES = 256
EMBED_DIM = 8
CONTEXT = np.zeros((4, EMBED_DIM), dtype=np.float32)
IMAGES_AT_A_TIME = 128
EVERY = 14
"""Pixels from one that features are made of to the next."""
FEATURE_CACHE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Photograph:
    """One of many files of about 110 KB, which differ in a comment."""

    number: int

    def read(self) -> bytes:
        """A JPEG."""
        data = _pictures()[self.number % NUM_PICTURES]
        comment = b"%08d" % self.number
        return data[:2] + b"\xff\xfe\x00\x0a" + comment + data[2:]


@lru_cache(maxsize=1)
def _pictures() -> list[bytes]:
    pictures = []
    for seed in range(NUM_PICTURES):
        noise = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        grain = np.random.default_rng(seed).normal(0, 9, (HEIGHT, WIDTH, 3))
        image = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "jpeg", quality=88)
        pictures.append(buffer.getvalue())
    return pictures


def dataset_of(num_classes: int, shots: int, num_test: int) -> Dataset:
    """As many images a class in the training split as are drawn, and a test split."""
    names = tuple(f"thing {number}" for number in range(num_classes))

    def items(first: int, count: int) -> list[Item]:
        return [
            Item(Photograph(first + place), place % num_classes, f"photograph {first + place}")
            for place in range(count)
        ]

    num_train = shots * num_classes
    return Dataset(
        "ImageNet's shape",
        names,
        {"train": items(0, num_train), "test": items(num_train, num_test)},
    )


@dataclass(frozen=True)
class StandInFactory:
    """Makes the oracle in a replica."""

    images_per_s: float
    texts_per_s: float
    decodes: bool = True

    def __call__(self) -> StandInOracle:
        return StandInOracle(self)


class StandInOracle:
    """Implements `HostedOracle` and `RecipeOracle`. The logits are those of random features of a
    few pixels and of texts.

    Args:
        service: images and texts a second; whether images are decoded.
    """

    def __init__(self, service: StandInFactory) -> None:
        self._service = service
        self._images = ImageStore(self._encode, FEATURE_CACHE_BYTES)
        self._tasks: dict[str, FloatArray] = {}
        self._texts_asked: set[tuple[str, bytes]] = set()

    @property
    def num_images_encoded(self) -> int:
        """So far."""
        return self._images.num_encoded

    @property
    def progress(self) -> int:
        """Grows while images are encoded."""
        return self._images.num_encoded

    def describe(self) -> OracleDescription:
        return OracleDescription(
            oracle_id="stands in for a GPU",
            embed_dim=EMBED_DIM,
            context_length=77,
            image_size=IMAGE_SIZE,
            logit_scale=100.0,
            initial_context=CONTEXT,
            scores=True,
            expects=True,
            takes_recipes=True,
        )

    def device_works(self) -> bool:
        """It has none."""
        return True

    def questions_at_once(self) -> int:
        """One."""
        return 1

    def give_up(self) -> None:
        """Only its caller could say so, who waits."""

    def forget(self, images: ImageHandle) -> None:
        """Its features go by the limit."""

    def prepare(self, recipe: Recipe) -> None:
        if self._service.decodes:
            self._images.prepare(recipe)

    def knows(self, digest: str) -> bool:
        return digest in self._tasks or digest in self._images

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        texts = (*task.class_names, *task.prompts)
        features = [_feature(text) for text in texts]
        self._tasks[task.digest] = np.stack(features)
        return TaskHandle(task.digest, task.num_texts, CONTEXT)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        assert not isinstance(images, tuple)
        handle = ImageHandle(digest_of_images(images), len(images))
        self._images.add(handle, images)
        return handle

    def expect(self, images: ImageHandle) -> None:
        self._images.blocks(images)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        text_CF = self._tasks[task.digest]
        for context in contexts_KLE:
            asked = task.digest, context.tobytes()
            if asked not in self._texts_asked:  # a model keeps what it was asked last
                self._texts_asked.add(asked)
                time.sleep(task.num_classes / self._service.texts_per_s)
        logits_NC = 100 * self._images.features(images).numpy() @ text_CF.T
        shifts_K = contexts_KLE.sum(axis=(1, 2), dtype=np.float32)
        logits: FloatArray = logits_NC[None] + shifts_K[:, None, None]
        return logits

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        return reduce_logits(self.predict(task, images, contexts_KLE), reduction)

    def _encode(self, images: Source) -> Iterator[torch.Tensor]:
        if not self._service.decodes:
            time.sleep(len(images) / self._service.images_per_s)
            yield torch.ones(len(images), FEATURES)
            return
        parts = images.parts(IMAGES_AT_A_TIME) if isinstance(images, Recipe) else iter([images])
        for pixels_NSS in parts:
            time.sleep(len(pixels_NSS) / self._service.images_per_s)
            few = pixels_NSS[:, :, ::EVERY, ::EVERY].reshape(len(pixels_NSS), -1) / 255 - 0.5
            features = few.astype(np.float32) @ _projection(few.shape[1])
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            yield torch.from_numpy(features)


@lru_cache(maxsize=1)
def _projection(width: int) -> FloatArray:
    return np.random.default_rng(0).normal(0, 1, (width, FEATURES)).astype(np.float32)


def _feature(text: str) -> FloatArray:
    """Random, and made in microseconds: what the stand-in does itself comes on top of its service
    time."""
    noise = hashlib.shake_256(text.encode()).digest(FEATURES)
    feature = np.frombuffer(noise, np.uint8).astype(np.float32) - np.float32(127.5)
    normal: FloatArray = feature / np.linalg.norm(feature)
    return normal
