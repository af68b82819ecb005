"""How fast an endpoint may be asked. No I/O, no threads, and no clock: who asks says the time."""

from __future__ import annotations

import random
from typing import Literal

MOST_AT_ONCE = 64
_FIRST_AT_ONCE = 4
_FEWER = 0.9

_TOKENS = 10.0
_TOKENS_OF_AN_ANSWER = 0.1
_TOKENS_TO_STOP = 5.0


class Bucket:
    """A declared rate. It lets through a second's worth at once, and then as many as the rate
    says; what is larger than a second's worth goes through and is waited for afterwards.

    Args:
        per_minute: the rate. None: everything goes through.
        now: in seconds, as for all methods.
    """

    def __init__(self, per_minute: int | None, now: float) -> None:
        self._rate = None if per_minute is None else per_minute / 60
        self._most = max(1.0, self._rate or 0)
        self._level = self._most
        self._filled = now

    def wait_s(self, units: int, now: float) -> float:
        """Until so many may go; 0 if they may at once."""
        if self._rate is None:
            return 0.0
        self._fill(now)
        return max(0.0, (min(units, self._most) - self._level) / self._rate)

    def take(self, units: int, now: float) -> None:
        """They go."""
        if self._rate is not None:
            self._fill(now)
            self._level -= units

    def _fill(self, now: float) -> None:
        self._level = min(self._most, self._level + (now - self._filled) * (self._rate or 0))
        self._filled = now


class Concurrency:
    """How many requests may be under way at once: one more with each answer, where that many are
    in use; a tenth fewer with each refusal for load (AIMD).

    Args:
        declared: by the endpoint. None: nothing is known.
    """

    def __init__(self, declared: int | None) -> None:
        self._most = float(min(MOST_AT_ONCE, declared or MOST_AT_ONCE))
        self._limit = min(float(_FIRST_AT_ONCE), self._most)

    @property
    def limit(self) -> int:
        return int(self._limit)

    def answered(self, under_way: int) -> None:
        """Among so many, with itself."""
        if under_way * 2 >= self.limit:
            self._limit = min(self._most, self._limit + 1)

    def dropped(self) -> None:
        """By 429, 503 or a timeout."""
        self._limit = max(1.0, self._limit * _FEWER)


Sending = Literal["any", "probe", "not yet", "probe under way", "given up"]


class Breaker:
    """Keeps a failing endpoint from being asked again and again.

    It holds 10 tokens. A failure takes 1, an answer gives 0.1. At 5 or fewer it opens: after a rest
    one request goes as a probe, and the others wait for what it brings. Each probe that fails
    doubles the rest. When probes have failed for too long it is given up: nothing goes during the
    next rest, so all who wait learn of it. A probe after that begins anew.

    Args:
        first_rest_s, longest_rest_s: before probes.
        patience_s: how long probes may fail.
    """

    def __init__(self, first_rest_s: float, longest_rest_s: float, patience_s: float) -> None:
        self._rests = (first_rest_s, longest_rest_s)
        self._patience_s = patience_s
        self._tokens = _TOKENS
        self._opened: float | None = None
        self._next_probe = 0.0
        self._rest = first_rest_s
        self._has_probe = False
        self._is_given_up = False

    @property
    def is_open(self) -> bool:
        """Whether only probes may go."""
        return self._opened is not None

    def may_send(self, now: float) -> Sending:
        """What may go now."""
        if self._opened is None:
            return "any"
        if self._has_probe:
            return "probe under way"
        if now < self._next_probe:
            return "given up" if self._is_given_up else "not yet"
        if self._is_given_up:
            self._is_given_up, self._opened = False, now
        return "probe"

    def rest_s(self, now: float) -> float:
        """Until the next probe."""
        return max(0.0, self._next_probe - now)

    def probe_goes(self) -> None:
        """The others wait."""
        self._has_probe = True

    def probe_ends(self) -> None:
        """However."""
        self._has_probe = False

    def answered(self) -> None:
        """By anything that shows that the endpoint works: a refusal for the rate, too."""
        self._tokens = min(_TOKENS, self._tokens + _TOKENS_OF_AN_ANSWER)
        if self.is_open:
            self._opened = None
            self._is_given_up = False
            self._rest = self._rests[0]
            self._tokens = max(self._tokens, _TOKENS_TO_STOP + 1)

    def failed(self, now: float, *, was_probe: bool) -> None:
        """An attempt has brought nothing, and nothing about how long to wait."""
        self._tokens = max(0.0, self._tokens - 1)
        if self._opened is None and self._tokens <= _TOKENS_TO_STOP:
            self._opened = now
            self._next_probe = now + self._rest
        elif self._opened is not None and was_probe:
            self._rest = min(2 * self._rest, self._rests[1])
            self._next_probe = now + self._rest
            self._is_given_up = now - self._opened >= self._patience_s


def backoff_s(failures: int, first_s: float, longest_s: float) -> float:
    """How long one request rests after so many failures of its own: doubled each time, and up to a
    quarter less by chance, so that requests that failed together do not come back together."""
    whole = min(first_s * 2.0 ** (max(failures, 1) - 1), longest_s)
    return whole * (1 - 0.25 * random.random())
