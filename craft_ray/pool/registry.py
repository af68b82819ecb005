"""What a pool remembers beside its replicas, so that a restarted or added replica finds it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import ray

from craft_ray.oracle.contract import (
    ClassificationTask,
    ImageHandle,
    OracleDescription,
    PixelArray,
    TaskHandle,
)

PASSING_BYTES = 256 * 2**20
"""Limit of the image sets that nobody asked to keep; the oldest of them goes first."""


class Registry:
    """Members, content-addressed tasks and image sets of one pool; wrapped as a Ray actor.

    The registry owns the images in the object store: they outlive the trial that registered them.
    """

    def __init__(self) -> None:
        self._members: tuple[str, ...] = ()
        self._chunk_seconds = 0.0
        self._description: OracleDescription | None = None
        self._tasks: dict[str, tuple[ClassificationTask, TaskHandle]] = {}
        self._kept: dict[str, ray.ObjectRef[Any]] = {}
        self._passing: OrderedDict[str, tuple[ray.ObjectRef[Any], int]] = OrderedDict()

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
        return digest in self._kept or digest in self._passing

    def add_images(self, handle: ImageHandle, pixels_NSS: PixelArray, keep: bool) -> None:
        """Take in an image set."""
        if self.has_images(handle.digest):
            return
        reference = ray.put(pixels_NSS)
        if keep:
            self._kept[handle.digest] = reference
            return
        self._passing[handle.digest] = (reference, pixels_NSS.nbytes)
        while len(self._passing) > 1 and self._passing_bytes() > PASSING_BYTES:
            self._passing.popitem(last=False)

    def images(self, digest: str) -> list[ray.ObjectRef[Any]]:
        """The reference to an image set in a list (a bare one would be resolved), or nothing."""
        if digest in self._kept:
            return [self._kept[digest]]
        return [self._passing[digest][0]] if digest in self._passing else []

    def _passing_bytes(self) -> int:
        return sum(num_bytes for _, num_bytes in self._passing.values())
