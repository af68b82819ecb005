"""Makes the threads that ask one endpoint wait for each other and for the endpoint."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from craft_ray.errors import EndpointUnavailableError
from craft_ray.oracle.gate.pacing import MOST_AT_ONCE, Breaker, Bucket, Concurrency
from craft_ray.oracle.gate.settings import GateSettings

logger = logging.getLogger(__name__)

Outcome = Literal["answered", "refused", "asked to wait", "overloaded", "failed", "not sent"]
"""`refused`: for its content. `asked to wait`: it has said how long. `overloaded`: 429, 503 or a
timeout, and not said how long. `failed`: anything else without an answer."""

_READY = 2
_LOOKS_UP_S = 1.0
"""A thread that waits looks up so often whether it is to stop."""
_LOGGED_WAIT_S = 5.0


class StoppedError(Exception):
    """Whoever asked does not wait for this any more."""


@dataclass(frozen=True)
class Pass:
    """Leave to send one request."""

    is_probe: bool


class Traffic:
    """Who may send, and when. Requests go in the order in which they first came, so none waits
    forever behind others.

    Args:
        settings: of the gate.
        clock: in seconds.
    """

    def __init__(self, settings: GateSettings, clock: Callable[[], float] = time.monotonic) -> None:
        now = clock()
        limits = settings.limits
        self._clock = clock
        self._longest_wait_s = settings.longest_wait_s
        self._changed = threading.Condition()
        self._requests = Bucket(limits.requests_per_minute, now)
        self._units = Bucket(limits.units_per_minute, now)
        self._concurrency = Concurrency(limits.concurrency)
        self._breaker = Breaker(
            settings.first_backoff_s, settings.longest_backoff_s, settings.longest_wait_s
        )
        self._tickets = itertools.count()
        self._queue: list[int] = []
        self._under_way = 0
        self._ended = 0
        self._held_until = now
        self._last_problem = ""
        self._progress = 0

    @property
    def progress(self) -> int:
        """Grows with every request sent, with every end of one, and with every second waited on
        purpose. It stands still while the endpoint is silent."""
        return self._progress

    @property
    def room(self) -> int:
        """How many requests of one caller are worth a thread: those that may go now, and some that
        are ready when one ends. Each that waits is woken at every end."""
        return min(MOST_AT_ONCE, self._concurrency.limit + _READY)

    def ticket(self) -> int:
        """A place in the queue, for all attempts of one request."""
        with self._changed:
            return next(self._tickets)

    def enter(self, ticket: int, units: int, stop: threading.Event) -> Pass:
        """Blocks until the request may be sent; `leave` must follow.

        Raises:
            StoppedError: `stop` was set meanwhile.
            EndpointUnavailableError: the endpoint has not answered anything for too long.
        """
        with self._changed:
            bisect.insort(self._queue, ticket)
            try:
                while True:
                    if stop.is_set():
                        raise StoppedError
                    wait_s = self._wait_s(ticket, units)
                    if wait_s == 0:
                        break
                    self._wait(wait_s)
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
            now = self._clock()
            is_probe = self._breaker.is_open
            if is_probe:
                self._breaker.probe_goes()
            self._requests.take(1, now)
            self._units.take(units, now)
            self._under_way += 1
            self._progress += 1
            return Pass(is_probe)

    def _wait_s(self, ticket: int, units: int) -> float | None:
        """0: it may go. None: until another thread does something."""
        now = self._clock()
        sending = self._breaker.may_send(now)
        if sending == "given up":
            raise EndpointUnavailableError(
                f"the endpoint has not answered for {self._longest_wait_s:g} s "
                f"({self._last_problem}); nothing that was answered is lost, and a resumed run "
                "goes on when the endpoint answers"
            )
        if ticket != self._queue[0] or sending == "probe under way":
            return None
        if self._under_way >= self._concurrency.limit:
            return None
        return max(
            self._held_until - now,
            self._breaker.rest_s(now) if sending == "not yet" else 0.0,
            self._requests.wait_s(1, now),
            self._units.wait_s(units, now),
            0.0,
        )

    def _wait(self, wait_s: float | None) -> None:
        """For so long, or for a change; a second at most."""
        started = self._clock()
        self._changed.wait(_LOOKS_UP_S if wait_s is None else min(wait_s, _LOOKS_UP_S))
        if wait_s is not None and self._clock() - started >= min(wait_s, _LOOKS_UP_S):
            self._progress += 1

    def leave(
        self, passed: Pass, outcome: Outcome, wait_s: float | None = None, problem: str = ""
    ) -> None:
        """The attempt has ended.

        Args:
            passed: from `enter`.
            outcome: what it brought.
            wait_s: how long the endpoint asks to wait; nothing is sent for so long.
            problem: in words; no secrets.
        """
        with self._changed:
            now = self._clock()
            if passed.is_probe:
                self._breaker.probe_ends()
            if outcome == "answered":
                self._concurrency.answered(self._under_way)
            if outcome in ("overloaded", "asked to wait"):
                self._concurrency.dropped()
            if outcome in ("answered", "refused", "asked to wait"):
                self._breaker.answered()
            elif outcome != "not sent":
                self._last_problem = problem
                self._breaker.failed(now, was_probe=passed.is_probe)
                self._log_rest(now)
            if wait_s is not None and wait_s <= self._longest_wait_s:
                if wait_s > _LOGGED_WAIT_S and now + wait_s > self._held_until + _LOGGED_WAIT_S:
                    logger.warning("the endpoint asks to wait %.0f s", wait_s)
                self._held_until = max(self._held_until, now + wait_s)
            self._under_way -= 1
            self._ended += 1
            self._progress += 1
            self._changed.notify_all()

    def _log_rest(self, now: float) -> None:
        rest_s = self._breaker.rest_s(now)
        if self._breaker.is_open and rest_s > _LOGGED_WAIT_S:
            logger.warning(
                "the endpoint does not answer (%s); asked again in %.0f s",
                self._last_problem,
                rest_s,
            )

    def pause(self, seconds: float, stop: threading.Event) -> None:
        """One request rests; others go on.

        Raises:
            StoppedError: `stop` was set meanwhile.
        """
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if stop.wait(min(left, _LOOKS_UP_S)):
                raise StoppedError
            with self._changed:
                self._progress += 1

    def gives_way(self, passed: Pass, stop: threading.Event) -> bool:
        """A request that may go is not sent now. If other attempts are under way, blocks until one
        of them has ended; False if there are none.

        Raises:
            StoppedError: `stop` was set meanwhile.
        """
        with self._changed:
            self.leave(passed, "not sent")
            if self._under_way == 0:
                return False
            ended = self._ended
            while self._ended == ended:
                if stop.is_set():
                    raise StoppedError
                self._changed.wait(_LOOKS_UP_S)
            return True

    def wake(self) -> None:
        """Have all threads look up whether they are to stop."""
        with self._changed:
            self._changed.notify_all()
