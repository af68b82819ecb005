"""`FakeOracle` as a replica can host it, with faults that a question can set off.

The first coordinate of a context says what happens when it is answered. Replicas are processes of
their own: a factory here is a plain picklable value.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
from tests.support.fake_oracle import FakeOracle

CRASHES, FAILS, BREAKS = 1e6, 2e6, 3e6
"""The process dies; an exception that is no refusal; one after which the device is broken."""


class HostedFake:
    """A hosted fake.

    Args:
        service_s: seconds that every candidate takes.
        hangs_s: seconds that the first question takes in addition.
        seed: of the world.
        lies: what comes in place of an answer: `nan`, or another `shape`.
        encodes_s: seconds that each image takes, when the first question about it comes.
    """

    def __init__(
        self,
        service_s: float,
        hangs_s: float,
        seed: int,
        lies: str | None = None,
        encodes_s: float = 0.0,
    ) -> None:
        self._encodes_s = encodes_s
        self._oracle = FakeOracle(seed)
        self._pixels: dict[str, Images] = {}
        self._lies = lies
        self._service_s = service_s
        self._hangs_s = hangs_s
        self._known: set[str] = set()
        self._is_broken = False
        self.num_images_encoded = 0

    @property
    def progress(self) -> int:
        return self.num_images_encoded

    def describe(self) -> OracleDescription:
        return self._oracle.describe()

    def knows(self, digest: str) -> bool:
        return digest in self._known

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        self._known.add(task.digest)
        return self._oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        handle = self._oracle.register_images(images)
        self._known.add(handle.digest)
        self._pixels[handle.digest] = images
        return handle

    def _encode(self, images: ImageHandle) -> None:
        pixels = self._pixels.pop(images.digest, ())
        for _ in range(len(pixels)):
            time.sleep(self._encodes_s)
            self.num_images_encoded += 1

    def device_works(self) -> bool:
        return not self._is_broken

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        marks = contexts_KLE[:, 0, 0]
        if np.any(marks == CRASHES):
            os._exit(1)
        if np.any(marks == FAILS):
            raise RuntimeError("no such kernel\nCompile with what helps")
        if self._is_broken or np.any(marks == BREAKS):
            self._is_broken = True
            raise RuntimeError("an illegal memory access")
        self._encode(images)
        time.sleep(self._service_s * len(contexts_KLE) + self._hangs_s)
        self._hangs_s = 0.0
        logits = self._oracle.predict(task, images, contexts_KLE, answer)
        if self._lies == "nan":
            logits[0, 0, 0] = np.nan
        return logits[:, 1:] if self._lies == "shape" else logits

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        return reduce_logits(self.predict(task, images, contexts_KLE), reduction)


@dataclass(frozen=True)
class HostedFakeFactory:
    """Makes a `HostedFake` in a replica; on one machine only the first to come here hangs.

    Attributes:
        hangs_once: a path; whoever creates the file there is the replica that hangs, or lies.
        lies: see `HostedFake`.
        encodes_s: see `HostedFake`.
        orders: a file; a number in it is the seed of who loads from then on, `hang` takes an hour
            of who reads it first, other words are why nobody can load.
    """

    service_s: float = 0.0
    hangs_s: float = 0.0
    hangs_once: str | None = None
    seed: int = 0
    lies: str | None = None
    encodes_s: float = 0.0
    orders: str | None = None

    def __call__(self) -> HostedFake:
        hangs_s, lies, seed = self.hangs_s, self.lies, self.seed
        if self.orders is not None and (order := Path(self.orders).read_text()):
            if order == "hang":
                Path(self.orders).write_text("")
                time.sleep(3600)
            if not order.isdigit():
                raise RuntimeError(order)
            seed = int(order)
        if self.hangs_once is not None:
            try:
                os.close(os.open(self.hangs_once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                hangs_s, lies = 0.0, None
        return HostedFake(self.service_s, hangs_s, seed, lies, self.encodes_s)
