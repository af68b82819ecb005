"""From images to files as an oracle takes them that decodes and resizes images itself."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import ExifTags, Image

from craft_ray.data.dataset import IMAGE_FORMATS, Item, in_rgb
from craft_ray.data.pixels import PixelArray
from craft_ray.data.threads import map_in_threads

Files = tuple[bytes, ...]

TAKEN_EVERYWHERE = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""First bytes of JPEG and PNG files."""
ALIKE_EVERYWHERE = ("1", "L", "P", "RGB")
"""Pillow's names of pixels in which everybody sees the same colours, if none is transparent: not
those with 16 bits of grey, which many programs show as white, and not CMYK."""

_APP1, _SCAN = b"\xe1", b"\xda"


def plain_files(items: Sequence[Item]) -> Files:
    """The images' own files, bit by bit, so that nothing is lost and their bytes are the same in
    every run. A file that not every endpoint decodes, or not to the same picture, becomes a PNG of
    the pixels that `Item.decode` gives; and a JPEG that says how it is to be turned, which some
    endpoints do and the views that are cropped here do not, goes without that.

    Raises:
        DataError: a file is gone, or cannot be decoded.
    """
    return tuple(map_in_threads(_plain_file, items))


def png_files(pixels_NSS: PixelArray) -> Files:
    """Pixels, uint8 [N, 3, S, S], as one PNG each."""
    return tuple(map_in_threads(_png_of_pixels, list(pixels_NSS)))


def _plain_file(item: Item) -> bytes:
    data, image = item.read(), item.decode()  # what is broken must not be sent, and paid for
    if not data.startswith(TAKEN_EVERYWHERE):
        return _png(image)
    with Image.open(BytesIO(data), formats=IMAGE_FORMATS) as stored:
        if stored.mode not in ALIKE_EVERYWHERE or "transparency" in stored.info:
            return _png(image)
        if _is_upright(stored):
            return data
    unturned = _unturned(data)
    return unturned if _shows(unturned, image) else _png(image)


def _is_upright(stored: Image.Image) -> bool:
    return bool(stored.getexif().get(ExifTags.Base.Orientation, 1) == 1)


def _unturned(data: bytes) -> bytes:
    """A JPEG file without the segments that may say how it is to be turned (EXIF, XMP); of another
    kind of file, as it is."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != _SCAN:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1 : at + 2] != _APP1:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _shows(data: bytes, image: Image.Image) -> bool:
    """Whether everybody sees these pixels in a file."""
    try:
        with Image.open(BytesIO(data), formats=IMAGE_FORMATS) as stored:
            return _is_upright(stored) and in_rgb(stored).tobytes() == image.tobytes()
    except OSError:
        return False


def _png_of_pixels(pixels_3SS: PixelArray) -> bytes:
    return _png(Image.fromarray(pixels_3SS.transpose(1, 2, 0)))


def _png(image: Image.Image) -> bytes:
    """Of the pixels alone: what else a file said was of its own colours."""
    buffer = BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, format="png")
    return buffer.getvalue()
