"""From images to files as an oracle takes them that decodes and resizes images itself."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from craft_ray.data.dataset import Item
from craft_ray.data.pixels import PixelArray
from craft_ray.data.threads import map_in_threads

Files = tuple[bytes, ...]

TAKEN_EVERYWHERE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""First bytes of JPEG and PNG files."""


def plain_files(items: Sequence[Item]) -> Files:
    """The images' own files, bit by bit, so that nothing is lost and their bytes are the same in
    every run; a file of a kind that not every endpoint decodes becomes a PNG of the same pixels.

    Raises:
        DataError: a file is gone, or cannot be decoded.
    """
    return tuple(map_in_threads(_plain_file, items))


def png_files(pixels_NSS: PixelArray) -> Files:
    """Pixels, uint8 [N, 3, S, S], as one PNG each."""
    return tuple(map_in_threads(_png_of_pixels, list(pixels_NSS)))


def _plain_file(item: Item) -> bytes:
    data, image = item.read(), item.decode()  # what is broken must not be sent, and paid for
    return data if data.startswith(TAKEN_EVERYWHERE) else _png(image)


def _png_of_pixels(pixels_3SS: PixelArray) -> bytes:
    return _png(Image.fromarray(pixels_3SS.transpose(1, 2, 0)))


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()
