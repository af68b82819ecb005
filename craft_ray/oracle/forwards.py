"""Many inputs through a model, a bounded number in each forward."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import torch

logger = logging.getLogger(__name__)


class Forwards:
    """Runs forwards of a bounded size; of a smaller one from then on, when memory has not been
    enough.

    Answers may then differ in their last bits from those of a machine with more memory.

    Args:
        size: of one forward, in any unit; a single input is computed however large it is.
        unit: for the log.
        release: called when memory has not been enough: gives back what can be made again.
    """

    def __init__(self, size: int, unit: str, release: Callable[[], None] = lambda: None) -> None:
        self._size = size
        self._unit = unit
        self._release = release

    def whole(self, least: int) -> int:
        """The fewest inputs, but `least`, that fill forwards."""
        return -(-least // self._size) * self._size

    def run(
        self, count: int, forward: Callable[[slice], torch.Tensor], *, each: int = 1
    ) -> Iterator[torch.Tensor]:
        """Results of consecutive slices of the inputs.

        Args:
            count: of inputs.
            forward: computes a slice of them.
            each: size of one input.

        Raises:
            torch.OutOfMemoryError: memory is not enough for a single input.
        """
        start = 0
        while start < count:
            part = slice(start, min(start + max(self._size // each, 1), count))
            try:
                result = forward(part)
            except torch.OutOfMemoryError:
                self._release()
                inputs = part.stop - start
                if inputs == 1:
                    raise
                self._size = inputs // 2 * each
                logger.warning(
                    "out of memory with %d %s in a forward: at most %d from now on",
                    *(inputs * each, self._unit, self._size),
                )
                # What the failed forward held is free only when its exception is gone.
                continue
            yield result
            start = part.stop
