"""From the bytes of an image file to the RGB image that a model sees: the one place that decodes.

Colour profiles (ICC) are not applied, as in torchvision's loader. Of a file with several pictures
the first is taken. Nothing is decoded at a smaller size (JPEG's draft mode), which would change
pixels.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from craft_ray.config.data import Background
from craft_ray.errors import DataError

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000", "AVIF")
"""What is decoded, whatever a file is called; HEIF as well, where pillow-heif is installed. Pillow
knows more, among them EPS, for which it starts another program. Those that Pillow knows from the
start come first: at the first of the others it loads all that it has, which takes a while."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
HEAD_BYTES = 64
"""That tell the kind of a file."""

_COLOURS: dict[Background, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's number: what makes the stored picture upright."""
_SAYS_ORIENTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Parts of a file, by Pillow's names, of which one must be there if it says how it is turned."""

_heif_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the pixels of a file become the image that the model sees. A classifier remembers it."""

    exif_orientation: bool = True
    """Turn the picture as its EXIF says, as every viewer does."""
    background: Background = "white"
    """What shows through transparent parts; `dropped`: the colours that are stored beneath."""

    def in_words(self) -> str:
        """For people."""
        turned = f"{'' if self.exif_orientation else 'not '}turned as EXIF says"
        if self.background == "dropped":
            return f"{turned}; transparency is ignored"
        return f"{turned}; transparent parts on {self.background}"


AS_SEEN = Decoding()
"""As viewers show it."""
AS_STORED = Decoding(exif_orientation=False, background="dropped")
"""As torchvision's loader does, and as every classifier of craft-ray was tuned before it could be
said: the embedded data set and CoOp's."""


@contextmanager
def opened(encoded: bytes | Path, name: str) -> Iterator[Image.Image]:
    """An image file of which only the head was read so far.

    Args:
        encoded: the file's content, or where it is.
        name: what an error message calls it.

    Raises:
        DataError: also for what goes wrong within the block: the bytes are no image, are truncated,
            have too many pixels, or channels of more than 16 bits.
    """
    try:
        with open_image(encoded if isinstance(encoded, Path) else io.BytesIO(encoded)) as image:
            yield image
    except Exception as error:  # on broken bytes, each of Pillow's decoders raises its own
        raise DataError(f"{name}: must be a readable image, but{_what_is_wrong(error)}") from error


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Pillow's image of a file, not decoded yet; one of `IMAGE_FORMATS`, or HEIF.

    Raises:
        UnidentifiedImageError: it is none of these; says the remedy where there is one.
        Exception: Pillow's, of many kinds.
    """
    try:
        return Image.open(source, formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        kind = kind_of(_head_of(source))
        if kind == "AVIF":
            raise UnidentifiedImageError(
                "is AVIF, which this Pillow cannot read or which is broken: pip install --upgrade "
                "'pillow>=11.3' has what it needs, or convert it to PNG or JPEG"
            ) from error
        if kind != "HEIF":  # Pillow's own message shows where the bytes lie in memory
            kinds = ", ".join(sorted([*IMAGE_FORMATS, "HEIF"]))
            raise UnidentifiedImageError(f"is none of {kinds}") from error
    _register_heif()
    try:
        return Image.open(source, formats=("HEIF",))
    except UnidentifiedImageError as error:
        raise UnidentifiedImageError("is HEIC that is broken or cut off") from error


def in_rgb(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Whatever a file holds, as it is shown to the model.

    16-bit greyscale is scaled down: Pillow's own conversion clips it at 255, which is white.

    Raises:
        ValueError: its channels have more than 16 bits, or it has no pixels.
    """
    if 0 in image.size:
        raise ValueError(f"it has no pixels: its size is {image.width} x {image.height}")
    given = image
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if image.mode != "RGB" or "transparency" in image.info:
        image = _without_alpha(image, decoding.background)
    else:
        image = image.convert("RGB")  # a copy, which outlives the file
    if decoding.exif_orientation:  # after it is decoded: in a PNG it may stand behind the pixels
        turn = _TURNS.get(orientation_of(given))
        if turn is not None:
            image = image.transpose(turn)
            for part in _SAYS_ORIENTATION:  # who stores it must not have it turned once more
                image.info.pop(part, None)
    return image


def orientation_of(image: Image.Image) -> int:
    """How EXIF (or XMP) says that a decoded image is to be turned, 1 to 8; 1: it is upright, or
    nothing can be read there. Of TIFF it is 1, as Pillow turns these itself."""
    if image.format == "TIFF" or not any(part in image.info for part in _SAYS_ORIENTATION):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # what is written there may be anything, and the picture is good
        return 1


def alpha_of(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, 0 to 255; None if all of them are."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    lowest, _ = alpha.getextrema()
    return alpha if isinstance(lowest, int) and lowest < 255 else None


def _without_alpha(image: Image.Image, background: Background) -> Image.Image:
    alpha = None if background == "dropped" else alpha_of(image)
    if image.mode == "P" and image.has_transparency_data:  # else Pillow warns
        image = image.convert("RGBA")
    rgb = image.convert("RGB")
    if alpha is None:
        return rgb
    canvas = Image.new("RGB", rgb.size, _COLOURS[background])
    canvas.paste(rgb, mask=alpha)
    return canvas


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (or 12, in TIFF) by its upper 8."""
    # Pillow has no other mode for 16 bits in PGM, and scales them to 0 to 65535.
    if not image.mode.startswith("I;16") and not (image.mode == "I" and image.format == "PPM"):
        raise ValueError(
            f"8 or 16 bits a channel are supported, and its mode is {image.mode}: scale its values "
            "to 0 to 255 and store it as PNG"
        )
    values = np.asarray(image)
    bits, is_inverted = 16, False
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]  # of Pillow's TIFF images
        bits = min(16, *tags.get(258, (16,)), 16)
        is_inverted = tags.get(262) == 0  # white is zero; Pillow sees to it up to 8 bits
    grey = np.clip(values >> (bits - 8), 0, 255).astype(np.uint8)
    made = Image.fromarray(255 - grey if is_inverted else grey)
    see_through = image.info.get("transparency")
    if isinstance(see_through, int):  # the grey that is not to be seen
        made.putalpha(Image.fromarray(np.where(values == see_through, 0, 255).astype(np.uint8)))
    return made


def _head_of(source: Path | BinaryIO) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(HEAD_BYTES)
    source.seek(0)
    head = source.read(HEAD_BYTES)
    source.seek(0)
    return head


def kind_of(head: bytes) -> str | None:
    """AVIF or HEIF, the two kinds that begin with a box of brands, by a file's first bytes; None:
    neither."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, end, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIF" if any(brand in _HEIF_BRANDS for brand in brands) else None


def _register_heif() -> None:
    """Have Pillow read HEIF, the photographs of many telephones.

    Raises:
        UnidentifiedImageError: pillow-heif is not installed; says how to install it.
    """
    with _heif_lock:
        if "HEIF" in Image.OPEN:
            return
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise UnidentifiedImageError(
                "is HEIC, which needs another package: pip install 'craft-ray[heif]', or convert "
                "it to JPEG"
            ) from error
        register_heif_opener()


def _what_is_wrong(error: Exception) -> str:
    """The rest of a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return f" {error}"
    if isinstance(error, Image.DecompressionBombError):
        return (
            f" Pillow takes it for a decompression bomb ({error}): store it with fewer pixels; a "
            "model sees a few hundred a side"
        )
    return f": {error}"
