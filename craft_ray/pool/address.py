"""What clients and replicas of a pool tell each other. Light: all processes load it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoolAddress:
    """Finds a running pool from any process of the cluster."""

    namespace: str
    registry: str
    replicas: tuple[str, ...]


@dataclass(frozen=True)
class Refused:
    """A question that the oracle refuses, as a value: raising in an actor method would count as a
    failure of the replica and be retried."""

    message: str
