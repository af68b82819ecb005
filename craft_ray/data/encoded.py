"""From images to files as an oracle takes them that decodes and resizes images itself."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_STORED, HEAD_BYTES, in_rgb, kind_of, opened, orientation_of
from craft_ray.data.pixels import PixelArray
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

Files = tuple[bytes, ...]

JPEG_START = b"\xff\xd8\xff"
TAKEN_EVERYWHERE = (JPEG_START, b"\x89PNG\r\n\x1a\n")
"""First bytes of JPEG and PNG files."""
ALIKE_EVERYWHERE = ("1", "L", "P", "RGB")
"""Pillow's names of pixels in which everybody sees the same colours, if none is transparent: not
those with 16 bits of grey, which many programs show as white, and not CMYK."""

_APP1, _SCAN = b"\xe1", b"\xda"


def plain_files(items: Sequence[Item]) -> Files:
    """The images' own files, bit by bit, so that nothing is lost and their bytes are the same in
    every run. A file that not every endpoint decodes, or not to the same picture, becomes a PNG of
    the pixels that `Item.decode` gives.

    A JPEG that says how it is to be turned is sent without that, as some endpoints turn it and
    others do not. If the views that are cropped here are turned, it is sent turned: as a JPEG of
    quality 95, whose pixels differ by a few levels; a photograph as PNG would have ten times as
    many bytes, which endpoints refuse. So are photographs in AVIF and HEIC.

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
        is_photograph = kind_of(data[:HEAD_BYTES]) is not None
        return _jpeg(image) if is_photograph else _png(image)
    with opened(data, item.name) as stored:
        if stored.mode not in ALIKE_EVERYWHERE or "transparency" in stored.info:
            return _png(image)
        is_jpeg = data.startswith(JPEG_START)
        if not is_jpeg:
            stored.load()  # what EXIF says may stand behind the pixels of a PNG
        if orientation_of(stored) == 1:
            return data
    if not is_jpeg:
        return _png(image)
    if item.decoding.exif_orientation:
        return _jpeg(image)
    unturned = _unturned(data)
    return unturned if _shows(unturned, image) else _png(image)


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
        with opened(data, "") as stored:
            return (
                in_rgb(stored, AS_STORED).tobytes() == image.tobytes()
                and orientation_of(stored) == 1
            )
    except DataError:
        return False


def _png_of_pixels(pixels_3SS: PixelArray) -> bytes:
    return _png(Image.fromarray(pixels_3SS.transpose(1, 2, 0)))


def _png(image: Image.Image) -> bytes:
    """Of the pixels alone: what else a file said was of its own colours."""
    buffer = BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, format="png")
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    # Colours at full resolution, so that nothing but rounding is lost.
    image.save(buffer, format="jpeg", quality=95, subsampling=0)
    return buffer.getvalue()
