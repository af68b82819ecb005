"""Images inside JSON: `data:image/png;base64,...`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from craft_ray.errors import DataError

_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)


def image_of(value: Any, where: str) -> bytes:
    """The content of the image file that a data URI holds.

    Args:
        value: from JSON.
        where: it stood, for messages.

    Raises:
        DataError: it is no text, another address, or its base64 is broken.
    """
    head = _HEAD.match(value) if isinstance(value, str) else None
    if head is None:
        raise DataError(
            f"{where}: must be a text data:image/png;base64,... with the image itself (addresses "
            f"and paths are not followed), but got {str(value)[:40]!r}"
        )
    try:
        return base64.b64decode(value[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: must have valid base64 after the comma, but: {error}") from error
