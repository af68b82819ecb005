"""Which tokens go into which forward of the text tower. Pure arithmetic on lengths.

A causal tower sees the prompts of one candidate as one row of tokens,

    [SOS] context | suffix of class a | suffix of class b | ...

because the first part is the same for all classes. How suffixes follow each other depends on how
attention is computed: sorted by length, where those of equal length are one dense call (`Bucket`),
or in tiles of equal width, which are one call together (`Tiling`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PREFIX, PADDING = -1, -2
"""In the place of a suffix: what else stands in a tile."""


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


@dataclass(frozen=True)
class Tiling:
    """A row cut into tiles of equal width. The first begins with the prefix; a suffix stands in one
    tile; what is left at the end of a tile is padding."""

    num_tiles: int
    width: int
    """Tokens of a tile."""
    runs: tuple[tuple[int, int], ...]
    """What stands in the row: which suffix (or `PREFIX`, `PADDING`), in how many tokens."""

    @property
    def order(self) -> list[int]:
        """Suffixes as they stand in the row."""
        return [owner for owner, _ in self.runs if owner >= 0]


def tile_suffixes(suffix_lengths: Sequence[int], prefix_length: int, target: int) -> Tiling:
    """Tiles of about `target` tokens with little padding: the longest suffix that is left goes into
    the emptiest tile (Graham's rule).

    Args:
        suffix_lengths: at least one.
        prefix_length: tokens in front of the suffixes of the first tile.
        target: wished width; tiles are wider where a single suffix is.
    """
    wished = round((prefix_length + sum(suffix_lengths)) / target)
    num_tiles = min(max(wished, 1), len(suffix_lengths))
    tiles: list[list[int]] = [[] for _ in range(num_tiles)]
    loads = [(prefix_length if tile == 0 else 0, tile) for tile in range(num_tiles)]
    heapq.heapify(loads)
    for index in sorted(range(len(suffix_lengths)), key=lambda index: -suffix_lengths[index]):
        load, tile = loads[0]
        tiles[tile].append(index)
        heapq.heapreplace(loads, (load + suffix_lengths[index], tile))
    width = max(load for load, _ in loads)
    missing = {tile: width - load for load, tile in loads}
    runs = [(PREFIX, prefix_length)]
    for tile, suffixes in enumerate(tiles):
        runs += [(index, suffix_lengths[index]) for index in suffixes]
        runs.append((PADDING, missing[tile]))
    return Tiling(num_tiles, width, tuple(run for run in runs if run[1]))


def slices(count: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` >= 1 that cover `count`."""
    size = max(size, 1)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
