"""Where a pool keeps registered tasks and images, so that a restarted replica finds them again."""

from __future__ import annotations

from typing import Any

import ray

from craft_ray.oracle.contract import (
    ClassificationTask,
    ImageHandle,
    OracleDescription,
    PixelArray,
    TaskHandle,
)


class Registry:
    """Content-addressed tasks and image sets of one pool; wrapped as a Ray actor.

    The registry owns the images in the object store: they outlive the trial that registered them.
    """

    def __init__(self) -> None:
        self._description: OracleDescription | None = None
        self._tasks: dict[str, tuple[ClassificationTask, TaskHandle]] = {}
        self._images: dict[str, ray.ObjectRef[Any]] = {}

    def describe(self) -> OracleDescription | None:
        """The description that all replicas gave, once they are ready."""
        return self._description

    def set_description(self, description: OracleDescription) -> None:
        """Keep the description: reading it then needs no replica."""
        self._description = description

    def task(self, digest: str) -> tuple[ClassificationTask, TaskHandle] | None:
        """A registered task, or None."""
        return self._tasks.get(digest)

    def add_task(self, task: ClassificationTask, handle: TaskHandle) -> None:
        """Keep a task."""
        self._tasks[handle.digest] = (task, handle)

    def has_images(self, digest: str) -> bool:
        """Whether an image set is registered."""
        return digest in self._images

    def add_images(self, handle: ImageHandle, pixels_NSS: PixelArray) -> None:
        """Keep an image set."""
        if handle.digest not in self._images:
            self._images[handle.digest] = ray.put(pixels_NSS)

    def images(self, digest: str) -> list[ray.ObjectRef[Any]]:
        """The reference to an image set in a list (a bare one would be resolved), or nothing."""
        return [self._images[digest]] if digest in self._images else []
