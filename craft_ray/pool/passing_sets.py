"""Image sets that a client of a pool asks about soon and then not again: the pool does not keep
them, and they travel with the questions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import ray

from craft_ray.oracle.contract import Images

TWO_SETS = 2
"""The one in work, and the next."""


class PassingSets:
    """The sets that were registered last; several threads may share them.

    Args:
        most: sets; of more, the one that was registered longest ago goes, however often it was
            asked about since: the next one, which nobody has asked about, must stay.
        max_bytes: of all together; the last one stays, however large it is. None: no limit.
    """

    def __init__(self, most: int = TWO_SETS, max_bytes: int | None = None) -> None:
        self._most, self._max_bytes = most, max_bytes
        self._sets: OrderedDict[str, tuple[ray.ObjectRef[Any], int]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def add(self, digest: str, images: Images) -> None:
        """One that is there already becomes the last."""
        if self.use(digest):
            return
        size = sum(map(len, images)) if isinstance(images, tuple) else images.nbytes
        put = ray.put(images)
        with self._lock:
            if digest not in self._sets:
                self._sets[digest] = put, size
                self._num_bytes += size
            while len(self._sets) > self._most or (
                self._max_bytes is not None
                and self._num_bytes > self._max_bytes
                and len(self._sets) > 1
            ):
                _, (_, gone) = self._sets.popitem(last=False)
                self._num_bytes -= gone

    def find(self, digest: str) -> list[ray.ObjectRef[Any]]:
        """The reference to a set in a list, or nothing: it was never here, or has gone."""
        with self._lock:
            return [self._sets[digest][0]] if digest in self._sets else []

    def use(self, digest: str) -> bool:
        """As if it were registered again; False: it is not here (any more)."""
        with self._lock:
            if digest not in self._sets:
                return False
            self._sets.move_to_end(digest)
            return True
