"""What clients and replicas of a pool tell each other. Light: all processes load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from craft_ray.errors import OracleError, RunFailedError, UserError


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
    oracle_id: str
    """Of the model that answered."""


@dataclass(frozen=True)
class Refused:
    """A question that the oracle refuses: nobody else need be asked. A value, because an exception
    comes through Ray as a traceback of text, in which the cause has to be looked for.

    Attributes:
        message: why.
        kind: of the error that the client raises.
    """

    message: str
    kind: type[UserError | RunFailedError] = OracleError

    def error(self) -> Exception:
        """What the client raises."""
        return self.kind(self.message)


@dataclass(frozen=True)
class Failed:
    """A question that a replica could not answer; a value for the same reason.

    Attributes:
        message: kind and words of the exception.
        may_pass: the cause lies outside of the question, which may go well at another time: a file,
            a connection, memory, a broken device.
    """

    message: str
    may_pass: bool


Reply = Answered | Refused | Failed
