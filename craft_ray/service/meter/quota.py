"""Periods of a quota, and requests a minute. Pure: times are given."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass

from craft_ray.service.meter.terms import Rate

TOTAL = "total"
MINUTE_S = 60.0
_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0}
_MOST_S = 100 * 366 * _SECONDS["d"]


@dataclass(frozen=True)
class Period:
    """One of the equal spans of time that follow a key's making.

    Attributes:
        number: 0 for the first.
        ends: seconds of the epoch; None: never.
    """

    number: int
    ends: float | None


def period_at(now: float, created: float, length_s: float | None) -> Period:
    """That which runs at a time.

    Args:
        now: the time, in seconds of the epoch.
        created: when the first period began.
        length_s: None: there is only one.
    """
    if length_s is None:
        return Period(0, None)
    number = math.floor((now - created) / length_s)
    return Period(number, created + (number + 1) * length_s)


def parse_period(text: str) -> float | None:
    """Seconds of `30d`, `1h` and the like; None of `total`.

    Raises:
        ValueError: it is neither.
    """
    if text == TOTAL:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([wdhm])", text)
    length_s = int(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < length_s <= _MOST_S:
        raise ValueError(
            f"must be a time such as 30d, 2w, 1h or 10m, 100 years at most, or {TOTAL}, "
            f"but got {text!r}"
        )
    return length_s


def words_of_period(length_s: float | None) -> str:
    """As it is typed."""
    if length_s is None:
        return TOTAL
    unit = next(unit for unit, seconds in _SECONDS.items() if length_s % seconds == 0)
    return f"{length_s / _SECONDS[unit]:g}{unit}"


class Rates:
    """Requests of each key in the minute that runs; threads may share it.

    Kept in memory: a meter that starts anew begins a new minute, which gives a key at most twice
    its limit once, and saves a write to the disk for each request that is free.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[str, tuple[int, int]] = {}  # key id -> minute, requests

    def count(self, key_id: str, limit: int | None, now: float) -> tuple[bool, Rate | None]:
        """Count a request, if there is room for it.

        Returns:
            Whether there was room, and the state after it; None: there is no limit.
        """
        if limit is None:
            return True, None
        minute = math.floor(now / MINUTE_S)
        with self._lock:
            last, used = self._counted.get(key_id, (minute, 0))
            # Of two requests at the turn of a minute, the earlier may be counted after the later;
            # a clock that is set back begins a new count.
            if minute not in (last, last - 1):
                last, used = minute, 0
            is_room = used < limit
            used += is_room
            self._counted[key_id] = last, used
        return is_room, Rate(limit, limit - used, max(0.0, (last + 1) * MINUTE_S - now))
