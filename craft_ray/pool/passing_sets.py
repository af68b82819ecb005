"""Image sets that a client of a pool asks about soon and then not again: the pool does not keep
them, and they travel with the questions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import ray

from craft_ray.data.recipe import Recipe
from craft_ray.oracle.contract import Images
from craft_ray.pool.sent_images import SentImages

TWO_SETS = 2
"""The one in work, and the next."""
MOST_SETS = 4096
"""Where those who ask say which they need no more (`RecipeOracle.forget`): one question may be
about two million images. Sets of files that the pool keeps take little room, and may be so many
in any case."""


class PassingSets:
    """The sets that were registered last; several threads may share them.

    Args:
        most: sets, not counted those whose files somebody else keeps; of more, the one that was
            registered longest ago goes, however often it was asked about since: the next one, which
            nobody has asked about, must stay.
        max_bytes: of all together; the last one stays, however large it is. None: no limit.

    Attributes:
        most: see above; may be raised.
    """

    def __init__(self, most: int = TWO_SETS, max_bytes: int | None = None) -> None:
        self.most = most
        self._max_bytes = max_bytes
        self._sets: OrderedDict[str, tuple[SentImages, int]] = OrderedDict()
        self._num_bytes = self._num_own = 0
        self._lock = threading.Lock()

    def add(self, digest: str, images: Images, files: ray.ObjectRef[Any] | None = None) -> None:
        """One that is there already becomes the last.

        Args:
            digest: content address.
            images: the set.
            files: that a recipe makes it of, if somebody else keeps them; else they are read.

        Raises:
            DataError: a file of a recipe cannot be read.
        """
        if self.use(digest):
            return
        if isinstance(images, Recipe):
            packed = images.pack() if files is None else None
            size = packed.content_B.nbytes if packed is not None else 0
            put = SentImages(files if packed is None else ray.put(packed), images.plan)
        else:
            size = sum(map(len, images)) if isinstance(images, tuple) else images.nbytes
            put = SentImages(ray.put(images))
        with self._lock:
            if digest not in self._sets:
                self._sets[digest] = put, size
                self._num_bytes += size
                self._num_own += size > 0
            while len(self._sets) > 1 and self._is_full():
                _, (_, gone) = self._sets.popitem(last=False)
                self._num_bytes -= gone
                self._num_own -= gone > 0

    def drop(self, digest: str) -> None:
        """Nothing more is asked about a set."""
        with self._lock:
            _, size = self._sets.pop(digest, (None, 0))
            self._num_bytes -= size
            self._num_own -= size > 0

    def _is_full(self) -> bool:
        return (
            self._num_own > self.most
            or len(self._sets) > max(self.most, MOST_SETS)
            or (self._max_bytes is not None and self._num_bytes > self._max_bytes)
        )

    def find(self, digest: str) -> SentImages | None:
        """A set, or nothing: it was never here, or has gone."""
        with self._lock:
            return self._sets[digest][0] if digest in self._sets else None

    def use(self, digest: str) -> bool:
        """As if it were registered again; False: it is not here (any more)."""
        with self._lock:
            if digest not in self._sets:
                return False
            self._sets.move_to_end(digest)
            return True
