"""The actor that hosts one copy of the model."""

from __future__ import annotations

from typing import Any

import ray
import torch

from craft_ray.config.run import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    TaskHandle,
)
from craft_ray.pool.address import Refused


class OracleReplica:
    """A plain class around `ClipOracle`; the pool wraps it with `ray.remote`.

    Args:
        config: the model.
        device: torch device.
        num_threads: CPU threads of torch.
        registry: name of the pool's `Registry`, in this actor's namespace; asked when a task or an
            image set is new here, also after a restart. A handle in its place would live in the
            object store, and with it the chance to restart this actor.
    """

    def __init__(self, config: OracleConfig, device: str, num_threads: int, registry: str) -> None:
        torch.set_num_threads(num_threads)
        self._registry: Any = ray.get_actor(registry)
        self._oracle = ClipOracle.load(config, device)

    def describe(self) -> OracleDescription:
        """See `Oracle`."""
        return self._oracle.describe()

    def register_task(self, task: ClassificationTask) -> TaskHandle | Refused:
        """See `Oracle`."""
        try:
            return self._oracle.register_task(task)
        except OracleError as error:
            return Refused(str(error))

    def predict(
        self, task: TaskHandle, images: ImageHandle, contexts_KLE: FloatArray, answer: Answer
    ) -> FloatArray | Refused:
        """See `Oracle`."""
        try:
            self._fetch_what_is_missing(task, images)
            return self._oracle.predict(task, images, contexts_KLE, answer)
        except OracleError as error:
            return Refused(str(error))

    def _fetch_what_is_missing(self, task: TaskHandle, images: ImageHandle) -> None:
        if not self._oracle.knows(task.digest):
            known = ray.get(self._registry.task.remote(task.digest))
            if known is not None:
                self._oracle.register_task(known[0])
        if not self._oracle.knows(images.digest):
            for reference in ray.get(self._registry.images.remote(images.digest)):
                self._oracle.register_images(ray.get(reference))
