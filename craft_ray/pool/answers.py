"""Collecting the parts of an answer, and refusing what cannot be one. Knows no Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from craft_ray.oracle.contract import ignore_part
from craft_ray.pool.scheduler import Chunk


class BadAnswerError(Exception):
    """What a replica answered cannot be the answer: the chunk is asked again."""


class AnswerSheet:
    """Rows of candidates, filled in chunk by chunk.

    Args:
        answers_K: has a row for each candidate; is filled.
        blocks: which of its columns, the images, are those of each image set that is asked about.
        on_part: told the first candidate of a part, and the part.
    """

    def __init__(
        self,
        answers_K: np.ndarray[Any, Any],
        on_part: Callable[[int, Any], None] = ignore_part,
        blocks: Sequence[slice] = (),
    ) -> None:
        self._answers_K = answers_K
        self._blocks = blocks
        self._on_part = on_part
        self._doubted: set[int] = set()

    def receive(self, chunk: Chunk, rows: Any) -> None:
        """Take in the rows of a chunk.

        Raises:
            BadAnswerError: another shape or type; or NaN or infinity, for the first time. A prompt
                may really overflow: what is said a second time is believed.
        """
        place = self._answers_K[chunk.start : chunk.stop]
        if self._blocks:
            place = place[:, self._blocks[chunk.block]]
        if getattr(rows, "shape", None) != place.shape or rows.dtype != place.dtype:
            raise BadAnswerError(f"its answer must be {place.dtype} {list(place.shape)}")
        if not np.isfinite(rows).all() and chunk.index not in self._doubted:
            self._doubted.add(chunk.index)
            raise BadAnswerError("its answer has NaN or infinity")
        place[...] = rows
        self._on_part(chunk.start, rows)
