"""What the gate must be told of the requests that it sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.wire import Reply, Request, Units

T = TypeVar("T")


class Dialogue(Protocol[T]):
    """What a question brings with it: how its requests are understood. Called by many threads."""

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        """What a refusal means; None if the reply is an answer. `now` is Unix time, in seconds."""
        ...

    def decode(self, request: Request, reply: Reply) -> T:
        """The answer in a reply.

        Raises:
            AnswerError: it is not what was asked for.
        """
        ...

    def split(self, request: Request) -> Sequence[Request]:
        """Smaller requests for the same, after a verdict `split`. Empty: it cannot be split."""
        ...

    def entries(self, request: Request, answer: T) -> Sequence[tuple[bytes, npt.NDArray[Any]]]:
        """What is kept of an answer: a digest of what was asked about, and its numbers."""
        ...

    def told(self, answer: T) -> Units:
        """What the endpoint says it has counted."""
        ...
