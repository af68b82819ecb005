"""Which tokens go into which forward of the text tower. Pure arithmetic on lengths.

A causal tower sees the prompts of one candidate as one row of tokens,

    [SOS] context | suffix of class a | suffix of class b | ...

because the first part is the same for all classes. Suffixes are sorted by length: those of equal
length stand together as a bucket, whose attention is one dense call, and no token is padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """Suffixes of equal length."""

    start: int
    """Offset of the first of them in the row, counted after the shared prefix."""
    num_classes: int
    length: int

    @property
    def stop(self) -> int:
        """Offset behind the last of them."""
        return self.start + self.num_classes * self.length


@dataclass(frozen=True)
class ClassGroup:
    """Classes that share a row."""

    classes: tuple[int, ...]
    """Their indices, in the order in which their suffixes stand."""
    buckets: tuple[Bucket, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of all suffixes."""
        return self.buckets[-1].stop


def group_classes(
    suffix_lengths: Sequence[int], prefix_length: int, max_tokens: int
) -> list[ClassGroup]:
    """Groups of classes whose row has at most `max_tokens` tokens, or a single class."""
    by_length = sorted(range(len(suffix_lengths)), key=lambda index: suffix_lengths[index])
    groups: list[list[int]] = [[]]
    num_tokens = prefix_length
    for index in by_length:
        if groups[-1] and num_tokens + suffix_lengths[index] > max_tokens:
            groups.append([])
            num_tokens = prefix_length
        groups[-1].append(index)
        num_tokens += suffix_lengths[index]
    return [
        ClassGroup(tuple(group), tuple(_buckets([suffix_lengths[index] for index in group])))
        for group in groups
    ]


def _buckets(sorted_lengths: Sequence[int]) -> Iterator[Bucket]:
    start = 0
    for length, equal in itertools.groupby(sorted_lengths):
        bucket = Bucket(start, len(list(equal)), length)
        yield bucket
        start = bucket.stop


def slices(count: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` >= 1 that cover `count`."""
    size = max(size, 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
