"""Sequences that hold little and make an element when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

Element = TypeVar("Element")


class LazySequence(Sequence[Element]):
    """A sequence by its length and `at`. It equals every sequence of its elements, but for text; a
    slice of it is a list."""

    @abstractmethod
    def at(self, place: int) -> Element:
        """The element at a place, which is at least 0 and less than the length."""

    @overload
    def __getitem__(self, index: int) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Element]: ...
    def __getitem__(self, index: int | slice) -> Element | Sequence[Element]:
        if isinstance(index, slice):
            return [self.at(place) for place in range(*index.indices(len(self)))]
        return self.at(range(len(self))[index])

    def __iter__(self) -> Iterator[Element]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str | bytes) or not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            one == another for one, another in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # as of a list: what is equal need not be of one kind


class Joined(LazySequence[Element]):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence[Element]]) -> None:
        self._parts = tuple(parts)
        self._starts = [0, *accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def at(self, place: int) -> Element:
        part = bisect_right(self._starts, place) - 1
        return self._parts[part][place - self._starts[part]]


class Chosen(LazySequence[Element]):
    """Some elements of another sequence, in any order.

    Args:
        source: has them.
        places: in it, integers [N]; each is at least 0 and less than its length.
    """

    def __init__(self, source: Sequence[Element], places: npt.ArrayLike) -> None:
        self._source = source
        self._places_N = np.asarray(places, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._places_N)

    def at(self, place: int) -> Element:
        return self._source[int(self._places_N[place])]
