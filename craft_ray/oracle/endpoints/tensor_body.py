"""Arrays and a JSON document as one body: a safetensors file with the document in its header.

No pickle, no base64: a reader needs the format's 20 lines, whatever its language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.oracle.endpoints.failures import looks_like_html, quoted
from craft_ray.oracle.endpoints.wire import AnswerError

PROTOCOL = "craft-ray/1"
"""The version; a reader refuses others."""
MEDIA_TYPE = "application/vnd.craft-ray+safetensors"

Arrays = dict[str, npt.NDArray[Any]]

_DOCUMENT = "craft-ray"
_KINDS = "fiu"


def pack(arrays: Mapping[str, npt.NDArray[Any]], document: Mapping[str, Any]) -> bytes:
    """A body; the same bytes for the same values."""
    from safetensors.numpy import save

    text = json.dumps({"protocol": PROTOCOL, **document}, sort_keys=True)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(whole, metadata={_DOCUMENT: text})


def unpack(body: bytes) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the document of a body.

    Raises:
        AnswerError: it is something else, half of one, of another version, or has numbers that
            are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if looks_like_html(body[:64].decode("utf-8", errors="replace")):
        raise AnswerError(
            f"the endpoint has answered with {quoted(body)}: oracle.url must be the address of a "
            "craft-ray server"
        )
    try:
        arrays: Arrays = load(body)
        length = int.from_bytes(body[:8], "little")
        document = json.loads(json.loads(body[8 : 8 + length])["__metadata__"][_DOCUMENT])
        version = document.pop("protocol")
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise AnswerError(
            f"the endpoint's answer must be {MEDIA_TYPE}, but is broken or something else "
            f"({type(error).__name__}, {len(body)} bytes)",
            again=True,
        ) from None
    if version != PROTOCOL:
        raise AnswerError(
            f"the endpoint's protocol must be {PROTOCOL}, but is {version!r:.40}: one of the two "
            "craft-rays is to be updated"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS or not np.isfinite(array).all():
            raise AnswerError(f"{name}: must be finite numbers, but is {array.dtype} with others")
    return arrays, document


def array_of(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: str, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """An array of a body.

    Args:
        arrays: of the body.
        name: of the array.
        dtype: that it must have.
        shape: that it must have; None for any length.

    Raises:
        AnswerError: it is missing, or is another.
    """
    array = arrays.get(name)
    fits = (
        array is not None
        and array.dtype == dtype
        and len(array.shape) == len(shape)
        and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    )
    if array is None or not fits:
        wanted = [side or "any" for side in shape]
        seen = "is missing" if array is None else f"is {array.dtype} {list(array.shape)}"
        raise AnswerError(f"{name}: must be {dtype} {wanted}, but {seen}")
    return array
