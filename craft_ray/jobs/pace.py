"""Which reports become lines where there is no terminal, such as in the log of a batch job."""

from __future__ import annotations

import time
from collections.abc import Callable

LINES_OF_ONE, SECONDS_OF_ONE = 5, 60.0
"""For one of many jobs that share a log: at most so many lines, and seconds between two."""


class Pace:
    """Says when a line is due: after each further part of the work, but not too often.

    Args:
        lines: at most so many in all; each stands for an equal part of the work.
        seconds: at least so many between two lines.
        clock: seconds from any start.
    """

    def __init__(
        self, lines: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        self._part = 0
        self._last = clock()

    def is_due(self, share: float) -> bool:
        """Whether to print a line now; the line then counts as printed.

        Args:
            share: of the work that is done, 0 to 1.
        """
        now, part = self._clock(), min(int(share * self._lines + 1e-9), self._lines)
        if part <= self._part or now - self._last < self._seconds:
            return False
        self._part, self._last = part, now
        return True


def pace_of_one() -> Pace:
    """For one of many jobs that share a log."""
    return Pace(LINES_OF_ONE, SECONDS_OF_ONE)
