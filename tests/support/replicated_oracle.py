"""A fake oracle that works on several questions at once, as a pool of replicas does."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from craft_ray.data.recipe import Recipe
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    OracleDescription,
    TaskHandle,
)
from tests.support.fake_oracle import FakeOracle


class ReplicatedOracle:
    """Implements `RecipeOracle`.

    Args:
        at_once: questions that wait for each other, as many as there still are.
        fails_on: content addresses of images about which every question fails.
    """

    def __init__(self, at_once: int = 1, fails_on: frozenset[str] = frozenset()) -> None:
        self.fails_on = fails_on
        self._at_once = at_once
        self._oracle = FakeOracle()
        self._blocks: dict[str, ImageHandle] = {}
        self._lock = threading.Lock()
        self._under_way = 0
        self.most_under_way = 0
        self.asked: list[str] = []
        self.forgotten: list[str] = []
        self.is_given_up = False
        self._all_here = threading.Event()

    def describe(self) -> OracleDescription:
        return replace(self._oracle.describe(), takes_recipes=True)

    def questions_at_once(self) -> int:
        return self._at_once

    def prepare(self, recipe: Recipe) -> None:
        pass

    def give_up(self) -> None:
        self.is_given_up = True

    def forget(self, images: ImageHandle) -> None:
        self.forgotten += images.registered

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        return self._oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        if not isinstance(images, Recipe):
            return self._oracle.register_images(images)
        made = self._oracle.register_images(images.pixels())
        self._blocks[images.digest] = made
        return ImageHandle(images.digest, len(images))

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        with self._lock:
            self.asked.append(images.digest)
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            if self._under_way == self._at_once:
                self._all_here.set()
        # Of those that come at once; a last one that is alone does not wait for ever.
        self._all_here.wait(timeout=0.2)
        with self._lock:
            self._under_way -= 1
        if images.digest in self.fails_on:
            raise RuntimeError(f"{images.digest[:8]} fails")
        made = [self._blocks.get(block.digest, block) for block in images.blocks or (images,)]
        parts = [self._oracle.predict(task, block, contexts_KLE, answer) for block in made]
        return np.concatenate(parts, axis=1)
