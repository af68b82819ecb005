"""What a forward needs that depends on the task and the length of its contexts only, made once.

Token embeddings of suffixes, masks and indices of a task with 1,000 classes take as long to make as
its forward takes on a GPU, and are the same in every generation of a search. They stay on the
device, up to a number of bytes.

Shape suffixes: B classes that have rows of their own (1 where all share a row), T tokens of a row
behind its prefix, E width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from craft_ray.oracle.text.buckets import BucketRows
from craft_ray.oracle.text.kept import Kept
from craft_ray.oracle.text.layers import Arrangement
from craft_ray.oracle.text.layout import (
    PADDING,
    PREFIX,
    Bucket,
    group_classes,
    tile_suffixes,
)
from craft_ray.oracle.text.prompts import PromptTokens
from craft_ray.oracle.text.tiles import TILE_TOKENS, TileRows

Attention = Literal["buckets", "tiles"]
Embed = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
MOST_BYTES = 64 * 2**20
"""Of all that is kept. 1,000 classes take 10 MB at a width of 512."""


@dataclass(frozen=True)
class PreparedRows:
    """Classes that go through the tower together: as one row of each candidate, or, where every
    class has a context of its own, as a row each.

    Attributes:
        classes_C: in the order of the row, or of the rows.
        suffix_BTE: embedded tokens behind the prefix.
        arrangement: of a row.
    """

    classes_C: torch.Tensor
    suffix_BTE: torch.Tensor
    arrangement: Arrangement


@dataclass(frozen=True)
class PreparedTask:
    """All classes of a task.

    Attributes:
        tokens: of the task.
        start_TE: embedded start tokens, with which every row begins.
        rows: one behind the other.
        places_C: where each class stands in them.
    """

    tokens: PromptTokens
    start_TE: torch.Tensor
    rows: tuple[PreparedRows, ...]
    places_C: torch.Tensor

    @property
    def nbytes(self) -> int:
        """On the device."""
        return sum(rows.suffix_BTE.nbytes + rows.arrangement.nbytes for rows in self.rows)


class Preparation:
    """Prepares tasks, and keeps those that were asked about last.

    Args:
        embed: token ids and their places in a prompt to embedded tokens, [T, E].
        attention: `buckets` for a CPU, `tiles` for a GPU.
        like: any tensor of the device and of the type of the products.
        max_tokens: of a row that several classes share.
    """

    def __init__(
        self, embed: Embed, attention: Attention, like: torch.Tensor, max_tokens: int
    ) -> None:
        self._embed = embed
        self._attention = attention
        self._like = like
        self._max_tokens = max_tokens
        self._kept: Kept[PreparedTask] = Kept(MOST_BYTES)
        """By the identity of the tokens, which stay alive as long as the entry does."""

    def task(self, tokens: PromptTokens, prefix_length: int, *, own: bool) -> PreparedTask:
        """The rows of a task.

        Args:
            tokens: of the task; the same object is known again.
            prefix_length: tokens in front of the suffixes: start token and context.
            own: every class has a context of its own.
        """
        key = id(tokens), prefix_length, own
        return self._kept.get(key, lambda: self._made(tokens, prefix_length, own=own))

    def _made(self, tokens: PromptTokens, prefix_length: int, *, own: bool) -> PreparedTask:
        make = self._own_rows if own else self._shared_rows
        rows = tuple(make(tokens, prefix_length))
        start = tokens.frame.start
        start_TE = self._embed(start, torch.arange(len(start)))
        order_C = torch.cat([part.classes_C for part in rows])
        return PreparedTask(tokens, start_TE, rows, order_C.argsort())

    def _shared_rows(self, tokens: PromptTokens, prefix_length: int) -> Iterator[PreparedRows]:
        """Classes of a candidate stand in one row behind their context, or in a few."""
        lengths = [len(suffix) for suffix in tokens.suffixes]
        for group in group_classes(lengths, prefix_length, self._max_tokens):
            if self._attention == "buckets":
                rows = BucketRows(prefix_length, group.buckets, self._like)
                runs = [(index, lengths[index]) for index in group.classes]
                yield self._row(tokens, prefix_length, runs, rows)
                continue
            own_lengths = [lengths[index] for index in group.classes]
            tiling = tile_suffixes(own_lengths, prefix_length, TILE_TOKENS)
            runs = [
                (group.classes[place] if place >= 0 else PADDING, count)
                for place, count in tiling.runs
                if place != PREFIX
            ]
            yield self._row(tokens, prefix_length, runs, TileRows(tiling, self._like))

    def _own_rows(self, tokens: PromptTokens, prefix_length: int) -> Iterator[PreparedRows]:
        """Rows of equal length go together."""
        by_length: dict[int, list[int]] = {}
        for index, suffix in enumerate(tokens.suffixes):
            by_length.setdefault(len(suffix), []).append(index)
        for length, classes in sorted(by_length.items()):
            rows: Arrangement
            if self._attention == "buckets":
                rows = BucketRows(prefix_length, [Bucket(0, 1, length)], self._like)
            else:
                row = prefix_length + length
                rows = TileRows(tile_suffixes([length], prefix_length, row), self._like)
            runs = [(index, length) for index in classes]
            one = self._row(tokens, prefix_length, runs, rows)
            yield replace(one, suffix_BTE=one.suffix_BTE.reshape(len(classes), length, -1))

    def _row(
        self,
        tokens: PromptTokens,
        prefix_length: int,
        runs: Sequence[tuple[int, int]],
        rows: Arrangement,
    ) -> PreparedRows:
        """With the embedded tokens of these suffixes, one behind the other."""
        ids_T = torch.cat(
            [
                tokens.suffixes[index] if index >= 0 else torch.zeros(count, dtype=torch.long)
                for index, count in runs
            ]
        )
        places_T = prefix_length + torch.cat([torch.arange(count) for _, count in runs])
        classes = [index for index, _ in runs if index >= 0]
        classes_C = torch.tensor(classes, device=self._like.device)
        return PreparedRows(classes_C, self._embed(ids_T, places_T)[None], rows)
