"""Reading requests: bounded while they come, and only in the form that a route takes."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request

from craft_ray.service.http.problems import Problem

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY_LENGTH = 255
_DIGITS = 20
"""Of a number of bytes: Python refuses to read one of thousands of digits."""
BODY_S = 20.0
BYTES_A_SECOND = 50_000
"""A body that comes more slowly, after the first `BODY_S`, is not waited for: it holds one of the
places of requests."""


async def read_body(request: Request, most: int) -> bytes:
    """The whole body; never more than `most` bytes are in memory.

    Raises:
        Problem: 413, it is larger; 415, it is compressed; 400, it has ended early.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(
            415,
            "encoded_body",
            "Content-Encoding: must be identity, as what a body holds once it is unpacked cannot "
            f"be told, but got {request.headers['content-encoding']!r:.40}",
        )
    told = request.headers.get("content-length", "")
    if told.isascii() and told.isdecimal() and int(told[:_DIGITS]) > most:
        raise _too_large(most, f"is {told[:_DIGITS]}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S) as patience:
            until = patience.when()
            assert until is not None
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise _too_large(most, "is more")
                patience.reschedule(until + len(body) / BYTES_A_SECOND)
    except ClientDisconnect:
        raise Problem(400, "half_a_body", "the connection has ended before the body") from None
    except TimeoutError:
        raise Problem(
            408,
            "slow_body",
            f"body: must come within {BODY_S:g} s and one more for each {BYTES_A_SECOND:,} bytes, "
            f"because others wait for its place, but of it {len(body)} bytes have come",
        ) from None
    return bytes(body)


def _too_large(most: int, seen: str) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"body: must be at most {most} bytes (bounds of this service), but {seen}: ask about fewer "
        "images or contexts at a time",
    )


def media_type_of(request: Request) -> str:
    """Without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_media_type(request: Request, wanted: str) -> None:
    """Refuse another one.

    Raises:
        Problem: 415.
    """
    if (got := media_type_of(request)) != wanted:
        raise Problem(
            415, "media_type", f"Content-Type: must be {wanted}, but got {got or 'nothing'!r:.80}"
        )


def idempotency_key(request: Request) -> str:
    """The header; quotes around it, as the IETF's draft has them, are not part of it.

    Raises:
        Problem: 400, there is none, or it is too long or not printable.
    """
    key = request.headers.get("idempotency-key", "").strip().strip('"')
    if not key:
        raise Problem(
            400,
            "no_idempotency_key",
            "Idempotency-Key: must be a new name for each question, and the same when it is sent "
            "again, so that nothing is charged twice, but there is none",
        )
    if len(key) > _KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Problem(
            400,
            "bad_idempotency_key",
            f"Idempotency-Key: must be at most {_KEY_LENGTH} printable ASCII characters, but has "
            f"{len(key)}",
        )
    return key


def check_digest(digest: Any, name: str) -> str:
    """A SHA-256 in hexadecimal, so no path either.

    Raises:
        Problem: 422, it is something else.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Problem(
            422, "bad_digest", f"{name}: must be a SHA-256 in 64 hexadecimal digits, a to f small"
        )
    return digest


def bearer_token(request: Request) -> str | None:
    """What `Authorization` holds; None: there is no such header.

    Raises:
        Problem: 401, it is of another kind.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Problem(401, "no_bearer", "Authorization: must be `Bearer` and a key")
    return token.strip()
