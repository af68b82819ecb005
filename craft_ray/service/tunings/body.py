"""Reads the body of a request while counting it: too much of it is refused, and not kept."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from craft_ray.service.tunings.api_error import ApiError, bad_request

AROUND_FILES = 100_000
"""Bytes of a form beside its files."""
MOST_LEVELS = 20
"""Of objects within objects."""


async def read_json(request: Request, most_bytes: int) -> dict[str, Any]:
    """A document.

    Raises:
        ApiError: it is too large, or no JSON object.
    """
    content = bytearray()
    async for part in _counted(request, most_bytes):
        content += part
    return await run_in_threadpool(_parsed, content)  # others are answered meanwhile


def _parsed(content: bytes | bytearray) -> dict[str, Any]:
    """What can be told again, in each of the answers about it: no half characters, no NaN."""
    try:
        document = json.loads(content)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body must be JSON, but: {str(error)[:200]}") from error
    if not isinstance(document, dict):
        raise bad_request(f"the body must be an object, but is a {type(document).__name__}")
    level: list[Any] = [document]
    for _ in range(MOST_LEVELS):
        level = [part for each in level for part in _parts_of(each)]
    if level:
        raise bad_request(f"the body must have at most {MOST_LEVELS} levels, but has more")
    return document


def _parts_of(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
        _check_texts(form)
        yield form
    finally:
        await form.close()


def _check_texts(form: FormData) -> None:
    """Some of the encodings that a form may name know half characters, which nobody can keep."""
    for name, value in form.multi_items():
        text = value if isinstance(value, str) else value.filename or ""
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError:
            raise bad_request("names and fields of a form must be text, but are not") from None


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
