"""What speaks one dialect: the contract of an adapter, of craft-ray's and of users' own."""

from __future__ import annotations

import json
from typing import Any, Protocol

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.capabilities import Capabilities
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.parts import parts_of
from craft_ray.oracle.endpoints.wire import (
    JSON_HEADERS,
    Answer,
    Part,
    Question,
    Reply,
    Request,
    units_of,
)


class Adapter(Protocol):
    """Turns questions into requests and replies into answers. It sends nothing, and keeps nothing
    between calls: any process may call it, in any order, also again after a crash.

    A user's own is a class `my.module:Adapter` with these four methods. It is made with the
    settings of `oracle.options` as keyword arguments.
    """

    def capabilities(self) -> Capabilities:
        """What the endpoint takes, answers, bounds and charges; the same each time."""
        ...

    def encode(self, question: Question, part: Part) -> Request:
        """The request that asks about a part of a question. Equal parts give equal bytes: answers
        are kept, and retries recognised, by them.

        Raises:
            OracleError: the endpoint has no answer to such a question.
        """
        ...

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        """The numbers of a reply that `classify` has not refused, in the order of the request's
        part.

        Raises:
            AnswerError: the reply is not what was asked for: broken, too short, of another shape.
        """
        ...

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        """What a refusal means; None if the reply is an answer.

        `failures.classify_status` is right for most endpoints.

        Args:
            request: that was sent.
            reply: to it.
            now: Unix time, in seconds.
        """
        ...


def requests_of(adapter: Adapter, question: Question) -> tuple[Request, ...]:
    """What must be sent to have a question answered, within the adapter's declared limits.

    Raises:
        OracleError: an image or a text is beyond the limits, or the endpoint has no answer to
            such a question.
    """
    capabilities = adapter.capabilities()
    parts = parts_of(question, capabilities)
    return tuple(request_of(adapter, question, part) for part in parts)


def request_of(adapter: Adapter, question: Question, part: Part) -> Request:
    """The request of one part, as after a refusal with `split`.

    Raises:
        OracleError: its body is larger than the adapter declares.
    """
    request = adapter.encode(question, part)
    most = adapter.capabilities().limits.bytes
    if most is not None and len(request.body) > most:
        raise OracleError(
            f"oracle.limits.bytes: must hold a request, but is {most} and the request has "
            f"{len(request.body)}"
        )
    return request


def json_request(path: str, document: dict[str, Any], part: Part) -> Request:
    """A POST of a JSON document, always with the same bytes. Entries that are None are left out."""
    given = {name: value for name, value in document.items() if value is not None}
    body = json.dumps(given, separators=(",", ":")).encode("ascii")
    return Request("POST", path, JSON_HEADERS, body, part, units_of(part))


def only_features(question: Question, dialect: str) -> None:
    """Raise OracleError for a question that compares images with texts."""
    if question.is_scores:
        raise OracleError(
            f"{dialect}: answers with features: images and texts must be asked about apart, and "
            "compared here (`scores.cosine`)"
        )
