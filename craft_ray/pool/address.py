"""What clients and replicas of a pool tell each other. Light: all processes load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PoolAddress:
    """Finds a running pool from any process of the cluster; who is in it, the registry tells."""

    namespace: str
    registry: str


@dataclass(frozen=True)
class Answered:
    """A replica's answer to a chunk."""

    value: Any
    service_s: float
    """What the replica worked for it; the rest of a client's wait was queue and transport."""


@dataclass(frozen=True)
class Refused:
    """A question that the oracle refuses, as a value: raising in an actor method would count as a
    failure of the replica and be retried."""

    message: str
