"""The form of what a journal has on record outside SQLite: a checksum of the rest, a line of JSON,
and bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def seal(head: Mapping[str, Any], content: bytes = b"") -> bytes:
    """One record as bytes."""
    body = json.dumps(dict(head)).encode() + b"\n" + content
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(sealed: bytes) -> tuple[dict[str, Any], bytes]:
    """What `seal` was given.

    Raises:
        ValueError: it is not whole.
    """
    checksum, _, body = sealed.partition(b"\n")
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its checksum differs")
    line, _, content = body.partition(b"\n")
    return dict(json.loads(line)), content  # whole, by its checksum
