"""Reads the body of a request while counting it: too much of it is refused, and not kept."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from craft_ray.service.tunings.api_error import ApiError, bad_request

AROUND_FILES = 100_000
"""Bytes of a form beside its files."""


async def read_json(request: Request, most_bytes: int) -> Any:
    """A document.

    Raises:
        ApiError: it is too large, or no JSON object.
    """
    content = bytearray()
    async for part in _counted(request, most_bytes):
        content += part
    try:
        document = json.loads(content)
        json.dumps(document, ensure_ascii=False).encode()  # half a character cannot be told again
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body must be JSON, but: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise bad_request(f"the body must be an object, but is a {type(document).__name__}")
    return document


@asynccontextmanager
async def read_form(request: Request, most_bytes: int, most_files: int) -> AsyncIterator[FormData]:
    """A form with files, which are on the disk when they are large, and removed after the block.

    Raises:
        ApiError: it is too large, has too many parts, or is no form.
    """
    if not has_form(request):
        kind = request.headers.get("content-type", "")
        raise bad_request(f"Content-Type must be multipart/form-data, but is {kind[:80]!r}")
    stream = _counted(request, most_bytes + AROUND_FILES)
    parser = MultiPartParser(
        request.headers, stream, max_files=most_files, max_fields=10, max_part_size=10_000
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise bad_request(f"the body must be a form, but: {error.message}") from error
    except (ValueError, KeyError, AssertionError) as error:  # of a broken header
        raise bad_request("the body must be a form, but is broken") from error
    try:
        yield form
    finally:
        await form.close()


def has_form(request: Request) -> bool:
    """Whether the body says that it is a form, and not JSON."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _counted(request: Request, most_bytes: int) -> AsyncGenerator[bytes, None]:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most_bytes:
        raise _too_large(most_bytes)
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > most_bytes:
            raise _too_large(most_bytes)
        yield part


def _too_large(most_bytes: int) -> ApiError:
    return ApiError(
        413, f"the body must have at most {most_bytes:,} bytes, but has more", "body_too_large"
    )
