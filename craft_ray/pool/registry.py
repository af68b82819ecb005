"""What a pool remembers beside its replicas, so that a new replica finds it."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

import ray

from craft_ray.config.oracle import OracleConfig
from craft_ray.data.recipe import PackedFiles, Plan
from craft_ray.oracle.contract import (
    ClassificationTask,
    Images,
    OracleDescription,
    TaskHandle,
)
from craft_ray.pool.cluster import living_drivers
from craft_ray.pool.sent_images import SentImages

TASKS_OF_A_DRIVER = 4096
"""Of more, the one that was asked for longest ago is forgotten."""
TASK_BYTES_OF_A_DRIVER = 512 * 2**20
"""As `size_of_task` counts; of more as well."""


def size_of_task(task: ClassificationTask) -> int:
    """Bytes of memory, about."""
    return sum(map(sys.getsizeof, (*task.class_names, task.template, *task.prompts)))


class Registry:
    """Members, content-addressed tasks and image sets of one pool; wrapped as a Ray actor.

    The registry owns the images in the object store: they outlive the trial that registered them,
    and go when all drivers (Ray's jobs) that registered them are gone: a pool that is offered to
    many does not keep what nobody can ask about.

    Args:
        model: that is hosted, for whoever attaches; None: nobody does.
    """

    def __init__(self, model: OracleConfig | None = None) -> None:
        self._model = model
        self._members: tuple[str, ...] = ()
        self._chunk_seconds = 0.0
        self._description: OracleDescription | None = None
        self._tasks: dict[str, tuple[ClassificationTask, TaskHandle]] = {}
        self._tasks_of: dict[str, OrderedDict[str, int]] = {}
        """Digests and sizes by driver, the one that was asked for last at the end."""
        self._bytes_of: Counter[str] = Counter()
        """Of the tasks, by driver."""
        self._images: dict[str, SentImages] = {}
        self._files: dict[str, ray.ObjectRef[Any]] = {}
        """Encoded images, by content; several sets may be made of the same ones."""
        self._images_of: dict[str, set[str]] = {}

    def model(self) -> OracleConfig | None:
        """What is hosted."""
        return self._model

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

    def task(self, digest: str, driver: str = "") -> tuple[ClassificationTask, TaskHandle] | None:
        """A registered task, or None. Of a `driver` that asks, it is in use."""
        known = self._tasks.get(digest)
        if known is not None and driver:
            self._use(digest, driver)
        return known

    def add_task(self, task: ClassificationTask, handle: TaskHandle, driver: str) -> None:
        """Keep a task as long as the driver lives, up to `TASKS_OF_A_DRIVER`."""
        self._forget_the_dead()
        self._tasks[handle.digest] = (task, handle)
        self._use(handle.digest, driver)

    def add_images(self, digest: str, images: Images, driver: str) -> None:
        """Keep an image set as long as the driver lives."""
        self._forget_the_dead()
        self._images_of.setdefault(driver, set()).add(digest)
        if digest not in self._images:
            self._images[digest] = SentImages(ray.put(images))

    def add_plan(self, plan: Plan, files: PackedFiles | None, driver: str) -> bool:
        """The same of a set that is to be made.

        Args:
            plan: how.
            files: of what.
            driver: see above.

        Returns:
            False if the files are not here, and must be given: nothing is kept.
        """
        self._forget_the_dead()
        if plan.files_digest not in self._files:
            if files is None:
                return False
            self._files[plan.files_digest] = ray.put(files)
        self._images_of.setdefault(driver, set()).add(plan.digest)
        self._images.setdefault(plan.digest, SentImages(self._files[plan.files_digest], plan))
        return True

    def files(self, digest: str) -> ray.ObjectRef[Any] | None:
        """Encoded images that sets are made of, if they are here."""
        return self._files.get(digest)

    def images(self, digest: str, driver: str = "") -> SentImages | None:
        """An image set, or nothing. Of a `driver` that asks, it is kept from now on."""
        if digest in self._images and driver:
            self._images_of.setdefault(driver, set()).add(digest)
        return self._images.get(digest)

    def size(self) -> tuple[int, int]:
        """Tasks and image sets that are kept."""
        return len(self._tasks), len(self._images)

    def _use(self, digest: str, driver: str) -> None:
        used = self._tasks_of.setdefault(driver, OrderedDict())
        size = size_of_task(self._tasks[digest][0])
        self._bytes_of[driver] += size - used.pop(digest, 0)
        used[digest] = size
        full = len(used)
        while len(used) > 1 and (
            len(used) > TASKS_OF_A_DRIVER or self._bytes_of[driver] > TASK_BYTES_OF_A_DRIVER
        ):
            _, gone = used.popitem(last=False)
            self._bytes_of[driver] -= gone
        if len(used) < full:
            self._drop_unused_tasks()

    def _drop_unused_tasks(self) -> None:
        used = {digest for each in self._tasks_of.values() for digest in each}
        self._tasks = {digest: known for digest, known in self._tasks.items() if digest in used}

    def _forget_the_dead(self) -> None:
        drivers = self._tasks_of.keys() | self._images_of.keys()
        if len(drivers) < 2:  # a pool of one run ends with it
            return
        for gone in drivers - living_drivers():
            self._tasks_of.pop(gone, None)
            del self._bytes_of[gone]
            self._images_of.pop(gone, None)
        self._drop_unused_tasks()
        used = {digest for each in self._images_of.values() for digest in each}
        self._images = {digest: kept for digest, kept in self._images.items() if digest in used}
        needed = {kept.plan.files_digest for kept in self._images.values() if kept.plan}
        self._files = {digest: kept for digest, kept in self._files.items() if digest in needed}
