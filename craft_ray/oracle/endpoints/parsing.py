"""A reply's body as numbers, with everything about it checked. Nothing of it is trusted."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from craft_ray.oracle.endpoints.failures import looks_like_html, quoted
from craft_ray.oracle.endpoints.wire import AnswerError, FloatArray, Reply, Units


def json_of(reply: Reply) -> Any:
    """The document in a reply.

    Raises:
        AnswerError: there is none, or half of one, or it is an HTML page, or it says `error`.
    """
    return json_of_bytes(reply.body)


def json_of_bytes(body: bytes) -> Any:
    """As `json_of`, for a body or the part of it that is JSON."""
    if not body.strip():
        raise AnswerError("the endpoint has answered with an empty body", again=True)
    if looks_like_html(body[:64].decode("utf-8", errors="replace")):
        raise AnswerError(
            f"the endpoint has answered with {quoted(body)} in place of JSON: oracle.url must be "
            "the address of the API, not of a page"
        )
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AnswerError(
            f"the endpoint's answer must be JSON, but is broken ({type(error).__name__}, "
            f"{len(body)} bytes): {quoted(body)}",
            again=True,
        ) from None
    if isinstance(document, Mapping) and (
        document.get("error") or document.get("object") == "error"
    ):
        raise AnswerError(f"the endpoint has answered with an error: {quoted(body)}")
    return document


def entry(document: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """An entry of a JSON object.

    Raises:
        AnswerError: it is not an object, has no such entry, or one of another kind.
    """
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise AnswerError(
            f"the endpoint's answer must have {name!r}, but is {_shown(document)}: is "
            "oracle.dialect the right one?"
        )
    return value


def matrix(rows: Sequence[Any], num_rows: int, num_columns: int | None, what: str) -> FloatArray:
    """Lists of numbers as float32 [num_rows, num_columns].

    Args:
        rows: lists or arrays of numbers.
        num_rows: that were asked for.
        num_columns: None: any number, the same for all.
        what: for messages: what a row is.

    Raises:
        AnswerError: missing or additional rows, another width, something else than numbers, NaN
            or infinity.
    """
    if len(rows) != num_rows:
        raise AnswerError(f"{what}: {num_rows} were asked for, but {len(rows)} were answered")
    numbers = []
    for row in rows:
        try:
            array = np.asarray(row)
        except (ValueError, OverflowError):  # lists of several lengths, numbers of 400 digits
            array = np.empty(0, dtype=object)
        if array.dtype.kind not in "iuf" or array.ndim != 1 or array.size == 0:
            raise AnswerError(f"{what}: must be lists of numbers, but one is {_shown(row)}")
        numbers.append(array)
    widths = sorted({array.size for array in numbers})
    if len(widths) > 1 or (num_columns is not None and widths != [num_columns]):
        wanted = "one number" if num_columns is None else str(num_columns)
        raise AnswerError(f"{what}: must have {wanted} of entries each, but have {widths}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.stack(numbers).astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise AnswerError(f"{what}: must be finite, but number {row} has NaN or infinity")
    return values


def features(rows: Sequence[Any], num_rows: int, width: int | None = None) -> FloatArray:
    """As `matrix`; and no vector of zeros, which has no direction."""
    values = matrix(rows, num_rows, width, "features")
    empty = np.flatnonzero(~values.any(axis=1))
    if empty.size:
        raise AnswerError(f"features: must not be all zero, but number {int(empty[0])} is")
    return values


def floats_of_base64(text: str) -> FloatArray:
    """Little-endian float32 in base64.

    Raises:
        AnswerError: it is not that.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b"?"
    if len(data) % 4 or not data:
        raise AnswerError(
            f"the endpoint's answer must have float32 in base64, but has {_shown(text)}"
        )
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def in_order(
    items: Sequence[Any], num_items: int, position: Callable[[Any], Any], what: str
) -> list[Any]:
    """Items in the order that was asked for.

    Args:
        items: as they were answered.
        num_items: that were asked for.
        position: of an item.
        what: for messages: what an item is.

    Raises:
        AnswerError: one is missing, is there twice, or was not asked for.
    """
    places = [position(item) for item in items]
    if any(type(place) is not int for place in places) or sorted(places) != list(range(num_items)):
        raise AnswerError(
            f"{what}: 0 to {num_items - 1} were asked for, each once, but {len(places)} were "
            f"answered: {_shown(places)}"
        )
    return [item for _, item in sorted(zip(places, items, strict=True), key=lambda pair: pair[0])]


def check_model(asked: str, document: Any, name: str = "model") -> None:
    """Some servers answer whatever the model's name is, with the one that they have.

    Raises:
        AnswerError: the answer names another model than was asked for.
    """
    named = document.get(name) if isinstance(document, Mapping) else None
    if isinstance(named, str) and named and named != asked:
        raise AnswerError(
            f"oracle.model: {asked!r} was asked for, but the endpoint has answered with {named!r}; "
            f"use oracle.model={named} if that is the one you mean"
        )


MOST_TOLD = 10**9
"""Of one request: a larger number is no count, and its cost would be no number of a bill."""


def count(document: Any, *path: str) -> int | None:
    """A number in nested objects; None where there is none: what is told is not to be relied on."""
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    is_count = isinstance(document, int | float) and not isinstance(document, bool)
    return int(document) if is_count and 0 <= document <= MOST_TOLD else None


def tokens_told(document: Any) -> Units:
    """`usage.total_tokens`, or else `usage.prompt_tokens`."""
    total = count(document, "usage", "total_tokens")
    return Units(tokens=count(document, "usage", "prompt_tokens") if total is None else total)


def _shown(value: Any) -> str:
    text = f"{value!r:.200}"
    return text if len(text) < 100 else text[:100] + "..."
