"""What a pool remembers beside its replicas, so that a new replica finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from craft_ray.oracle.contract import (
    ClassificationTask,
    ImageHandle,
    Images,
    OracleDescription,
    TaskHandle,
)


class Registry:
    """Members, content-addressed tasks and image sets of one pool; wrapped as a Ray actor.

    The registry owns the images in the object store: they outlive the trial that registered them.
    """

    def __init__(self) -> None:
        self._members: tuple[str, ...] = ()
        self._chunk_seconds = 0.0
        self._description: OracleDescription | None = None
        self._tasks: dict[str, tuple[ClassificationTask, TaskHandle]] = {}
        self._images: dict[str, ray.ObjectRef[Any]] = {}

    def members(self, chunk_seconds: float = 0.0) -> tuple[str, ...]:
        """Names of the replicas that questions may be sent to.

        A client says how long it has waited for chunks since it last asked (see `LoadMeter`).
        """
        self._chunk_seconds += chunk_seconds
        return self._members

    def chunk_seconds(self) -> float:
        """What all clients have waited."""
        return self._chunk_seconds

    def set_members(self, members: Sequence[str]) -> None:
        """Replicas have become ready, or are leaving."""
        self._members = tuple(members)

    def introduce(self, description: OracleDescription) -> OracleDescription:
        """A replica has loaded its model; the description of the first one is the pool's."""
        if self._description is None:
            self._description = description
        return self._description

    def describe(self) -> OracleDescription | None:
        """The pool's description, or None before a replica has loaded the model."""
        return self._description

    def task(self, digest: str) -> tuple[ClassificationTask, TaskHandle] | None:
        """A registered task, or None."""
        return self._tasks.get(digest)

    def add_task(self, task: ClassificationTask, handle: TaskHandle) -> None:
        """Keep a task."""
        self._tasks[handle.digest] = (task, handle)

    def add_images(self, handle: ImageHandle, images: Images) -> None:
        """Keep an image set."""
        if handle.digest not in self._images:
            self._images[handle.digest] = ray.put(images)

    def images(self, digest: str) -> list[ray.ObjectRef[Any]]:
        """The reference to an image set in a list (a bare one would be resolved), or nothing."""
        return [self._images[digest]] if digest in self._images else []
