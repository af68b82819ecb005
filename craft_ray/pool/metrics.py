"""What a pool does, as Ray's metrics (scraped by Prometheus) and as totals for a tracker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from ray.util.metrics import Counter, Histogram

WAIT_BOUNDARIES_S = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
FILL_BOUNDARIES = [0.25, 0.5, 0.75, 1.0]


class ReplicaMetrics:
    """Counters of one replica. Busy seconds a second are its utilisation.

    Args:
        replica: the tag of all of them.
    """

    def __init__(self, replica: str) -> None:
        tags = {"replica": replica}
        self._candidates = _counter("candidates", "Candidates answered", tags)
        self._chunks = _counter("chunks", "Chunks answered", tags)
        self._images = _counter("images_encoded", "Images encoded", tags)
        self._busy = _counter("busy_seconds", "Seconds of work", tags)

    def record(self, num_candidates: int, num_images_encoded: int, service_s: float) -> None:
        """A chunk has been answered."""
        self._chunks.inc()
        # Ray's counters refuse to grow by nothing.
        for counter, amount in (
            (self._candidates, num_candidates),
            (self._images, num_images_encoded),
            (self._busy, service_s),
        ):
            if amount > 0:
                counter.inc(amount)


@dataclass(frozen=True)
class ClientTotals:
    """What one client's chunks have cost so far."""

    candidates: int = 0
    chunks: int = 0
    capacity: int = 0
    """Candidates that these chunks could have carried."""
    service_s: float = 0.0
    wait_s: float = 0.0
    """Time in queues and on the way, summed over chunks."""
    retries: int = 0
    """Chunks sent again after they were lost."""

    def since(self, earlier: ClientTotals, elapsed_s: float) -> dict[str, float]:
        """Rates and shares of what happened after `earlier`, for a tracker."""
        chunks = self.chunks - earlier.chunks
        if chunks == 0 or elapsed_s <= 0:
            return {}
        candidates = self.candidates - earlier.candidates
        return {
            "pool_queries_per_s": candidates / elapsed_s,
            "pool_batch_fill": candidates / (self.capacity - earlier.capacity),
            "pool_queue_wait_s": (self.wait_s - earlier.wait_s) / chunks,
            "pool_service_s": (self.service_s - earlier.service_s) / chunks,
            "pool_retries": float(self.retries - earlier.retries),
        }


class ClientMetrics:
    """Totals of one client, of all its threads, and the histograms that all clients share."""

    def __init__(self) -> None:
        self.totals = ClientTotals()
        self._lock = threading.Lock()
        self._wait = Histogram(
            "craft_ray_queue_wait_seconds",
            description="Time of a chunk in queues and on the way",
            boundaries=WAIT_BOUNDARIES_S,
        )
        self._fill = Histogram(
            "craft_ray_batch_fill",
            description="Share of a chunk's places that carry a candidate",
            boundaries=FILL_BOUNDARIES,
        )

    def record(self, num_candidates: int, capacity: int, service_s: float, wait_s: float) -> None:
        """A chunk has come back."""
        with self._lock:
            totals = self.totals
            self.totals = replace(
                totals,
                candidates=totals.candidates + num_candidates,
                chunks=totals.chunks + 1,
                capacity=totals.capacity + capacity,
                service_s=totals.service_s + service_s,
                wait_s=totals.wait_s + wait_s,
            )
        self._wait.observe(max(wait_s, 1e-6))
        self._fill.observe(num_candidates / capacity)

    def record_retries(self, count: int) -> None:
        """Chunks of a finished query had to be sent again."""
        with self._lock:
            self.totals = replace(self.totals, retries=self.totals.retries + count)


def _counter(name: str, description: str, tags: dict[str, str]) -> Counter:
    counter = Counter(f"craft_ray_{name}", description=description, tag_keys=tuple(tags))
    counter.set_default_tags(tags)
    return counter
