"""How many replicas queries can use: when to ask an autoscaler, and when to give back. Pure
decisions: no Ray, time is an argument.

The measure is the mean number of chunks that clients wait for (their chunk-seconds / seconds, by
Little's law), so a client that thinks most of the time counts for little. Between "more than two
chunks a replica: ask for more" and "less than one chunk a replica: give back" nothing changes:
more replicas make the same queries wait less, and without such a gap the pool would follow itself.
"""

from __future__ import annotations

import math
import threading
from collections import deque

CHUNKS_A_REPLICA = 2
"""One at work and one to follow it: a replica with more has a queue."""
ASK_AFTER_S = 10.0
"""Queries must have queued for so long. A node takes minutes: it does not help a short peak."""
ROUNDING = 1e-6


class LoadMeter:
    """Chunk-seconds of one client: chunks that it waits for, in all its threads, times the time it
    does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunk_seconds = 0.0

    def waited(self, chunks: int, seconds: float) -> None:
        """So many chunks have been waited for, so long."""
        with self._lock:
            self._chunk_seconds += chunks * seconds

    def take(self) -> float:
        """What has come together since it was last taken."""
        with self._lock:
            taken, self._chunk_seconds = self._chunk_seconds, 0.0
        return taken


class Demand:
    """How many replicas a pool should have.

    Args:
        min_replicas: kept while nothing is asked; a pool starts with one even if it is 0, because
            the model has to introduce itself.
        max_replicas: never more.
        give_back_after_s: replicas must have been superfluous for so long.
    """

    def __init__(self, min_replicas: int, max_replicas: int, give_back_after_s: float) -> None:
        self.wanted = max(min_replicas, 1)
        self._min, self._max = min_replicas, max_replicas
        self._give_back_after_s = give_back_after_s
        self._serving = -1
        self._readings: deque[tuple[float, float]] = deque()
        """(time, chunk-seconds until then) while the same number of replicas serves, the last
        `ASK_AFTER_S` of them."""
        self._loads: deque[tuple[float, float]] = deque()
        """(time, load) of the last `give_back_after_s`."""

    def observe(self, chunk_seconds: float, serving: int, now_s: float, *, failing: int = 0) -> int:
        """The number of replicas that are wanted from now on.

        Args:
            chunk_seconds: of all clients, since the pool was started.
            serving: replicas that answer.
            now_s: of any monotonic clock.
            failing: replicas that could not be started and are tried again. They are not waited
                for: others may help meanwhile.
        """
        if serving != self._serving:
            self._serving = serving
            self._readings.clear()
        self._readings.append((now_s, chunk_seconds))
        while len(self._readings) > 2 and self._readings[1][0] <= now_s - ASK_AFTER_S:
            self._readings.popleft()
        load, period_s = self._load()
        if period_s > 0:
            self._loads.append((now_s, load))
        while len(self._loads) > 1 and self._loads[1][0] <= now_s - self._give_back_after_s:
            self._loads.popleft()
        if self._wakes(load) or (period_s >= ASK_AFTER_S and self._queues(load, failing)):
            # Twice as many at most: then the load is measured again, with them.
            useful = math.ceil(load / CHUNKS_A_REPLICA - ROUNDING) + failing
            self._change(min(useful, max(2 * self.wanted, 1), self._max))
        elif self._loads and now_s - self._loads[0][0] >= self._give_back_after_s:
            needed = math.ceil(max(load for _, load in self._loads) - ROUNDING)
            self._change(min(self.wanted, max(needed, self._min)))
        return self.wanted

    def _load(self) -> tuple[float, float]:
        """Mean number of chunks waited for, and over how many seconds."""
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        period_s = last_s - first_s
        return ((last - first) / period_s if period_s > 0 else 0.0), period_s

    def _wakes(self, load: float) -> bool:
        return self.wanted == 0 and load > 0

    def _queues(self, load: float, failing: int) -> bool:
        """What was asked for last is there, and is not enough. Where nothing serves, more of the
        same would not either."""
        return (
            self._serving > 0
            and self._serving + failing >= self.wanted
            and load > CHUNKS_A_REPLICA * self._serving + ROUNDING
        )

    def _change(self, wanted: int) -> None:
        if wanted != self.wanted:
            self.wanted = wanted
            self._readings.clear()
