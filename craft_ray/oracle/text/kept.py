"""What was made for the last questions, within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import torch

from craft_ray.oracle.contract import FloatArray, TaskHandle


class Sized(Protocol):
    """A tensor, or what is made of some."""

    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Sized)


class Kept(Generic[Value]):
    """Values by their keys.

    Args:
        max_bytes: of all together; of more, those that were asked for longest ago go, and a single
            one that is larger is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value that is kept, or a new one."""
        if (known := self._values.get(key)) is not None:
            self._values.move_to_end(key)
            return known
        value = make()
        if value.nbytes <= self._max_bytes:
            self._values[key] = value
            self._num_bytes += value.nbytes
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= self._values.popitem(last=False)[1].nbytes
        return value


class KeptTexts:
    """Features of contexts, for those who ask the same of many images, batch after batch: a
    classifier and what it is compared with.

    Args:
        max_bytes: see `Kept`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: Kept[torch.Tensor] = Kept(max_bytes)

    def features(
        self, task: TaskHandle, contexts_KLE: FloatArray, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """[K, C, F].

        Args:
            task: with the classes.
            contexts_KLE: of which features are asked for.
            encode: makes them.
        """
        return self._kept.get((task.digest, contexts_KLE.shape, contexts_KLE.tobytes()), encode)
