"""What Prometheus reads: requests, pairs and seconds, by key and route."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import Response

from craft_ray.service.http.problems import Problem

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
NOBODY = "-"
"""Key of a request that was refused before it was known whose it is."""


class Metrics:
    """Of one ingress process, since its start.

    Args:
        waiting: chunks that wait for their turn, when it is asked.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "craft_ray_requests",
            "Requests that were answered or refused.",
            ["key", "route", "status"],
            registry=self._registry,
        )
        self._pairs = Counter(
            "craft_ray_pairs",
            "Pairs of an image and a prompt that were charged.",
            ["key", "route"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "craft_ray_request_seconds",
            "From the request's head to the answer's.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        gauge = Gauge(
            "craft_ray_waiting_chunks",
            "Chunks that wait for their turn at the pool.",
            registry=self._registry,
        )
        gauge.set_function(waiting)

    def answered(self, key: str, route: str, status: int, seconds: float) -> None:
        """A request has come to its end."""
        self._requests.labels(key, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def charged(self, key: str, route: str, pairs: int) -> None:
        """Pairs were settled."""
        self._pairs.labels(key, route).inc(pairs)

    def text(self) -> bytes:
        """In Prometheus' own form."""
        return generate_latest(self._registry)


def counted(metrics: Metrics) -> type[APIRoute]:
    """A kind of route whose requests are counted, by the key's name (`request.state.key_name`)."""

    class CountedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def measured(request: Request) -> Response:
                started_s, status = time.monotonic(), 500
                try:
                    response = await handle(request)
                    status = response.status_code
                    return response
                except Problem as problem:
                    status = problem.status
                    raise
                finally:
                    key = getattr(request.state, "key_name", NOBODY)
                    metrics.answered(key, self.path, status, time.monotonic() - started_s)

            return measured

    return CountedRoute
