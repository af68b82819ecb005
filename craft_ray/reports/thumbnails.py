"""Small pictures that stand in a page themselves."""

from __future__ import annotations

import base64
import io

from craft_ray.data.dataset import Item
from craft_ray.errors import DataError

SIDE = 128
"""Pixels at most."""


def thumbnail(item: Item) -> str:
    """An address that holds a small picture of the image; empty if it cannot be read (any more)."""
    try:
        image = item.decode()
    except DataError:
        return ""
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
