"""What of an image file a user may not expect: it is turned, has transparent parts, and the like.
None of it is wrong, so it is counted and told, and no finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from PIL import Image

from craft_ray.data.dataset import Item
from craft_ray.data.decoding import Decoding, alpha_of, in_rgb, orientation_of

Trait = Literal["turned", "transparent", "several pictures", "16 bits"]
"""`turned`: EXIF says that the stored picture lies on a side, stands on its head or is mirrored.
`transparent`: a part of it can be seen through. `several pictures`: an animation, or pages."""


def examine(item: Item) -> frozenset[Trait]:
    """Decode an image; what is special about it.

    A JPEG is decoded at an eighth of its size: all of the file is read, and fails where it would,
    in 60 % of the time.

    Raises:
        DataError: it cannot be decoded.
    """
    with item.open() as image:
        image.draft(None, (1, 1))
        return _decoded(image, item)[1]


def decode_and_examine(item: Item) -> tuple[Image.Image, frozenset[Trait]]:
    """The image as `Item.decode` gives it, and what is special about it.

    Raises:
        DataError: it cannot be decoded.
    """
    with item.open() as image:
        return _decoded(image, item)


def _decoded(image: Image.Image, item: Item) -> tuple[Image.Image, frozenset[Trait]]:
    before = set(_traits_of_head(image))
    decoded = in_rgb(image, item.decoding)
    return decoded, frozenset(before | set(_traits_of_pixels(image)))


def told(counts: Mapping[Trait, int], num_images: int, decoding: Decoding) -> list[str]:
    """What was found in so many images, and what is done about it, each in a sentence."""
    if decoding.exif_orientation:
        turned = "turned as EXIF says (data.source.exif_orientation=false leaves them as stored)"
    else:
        turned = "not turned as EXIF says: data.source.exif_orientation=true does it"
    if decoding.background == "dropped":
        seen = "whose transparency is ignored: data.source.background=white puts them on white"
    else:
        remedy = "data.source.background=dropped gives the colours stored beneath"
        seen = f"which are put on {decoding.background} ({remedy})"
    sentences: dict[Trait, tuple[str, str, str]] = {
        "turned": ("is", "are", turned),
        "transparent": ("has", "have", f"transparent parts, {seen}"),
        "several pictures": (
            "holds",
            "hold",
            "several pictures (an animation or pages), of which the first is taken",
        ),
        "16 bits": ("has", "have", "16 bits a channel, of which the upper 8 are taken"),
    }
    return [
        f"{counts[trait]:,} of {num_images:,} images {one if counts[trait] == 1 else many} {what}"
        for trait, (one, many, what) in sentences.items()
        if counts.get(trait)
    ]


def _traits_of_head(image: Image.Image) -> Iterator[Trait]:
    """What decoding makes unknown."""
    if image.mode[0] == "I" or any(
        _is_deep(tile.codec_name, tile.args) for tile in getattr(image, "tile", ())
    ):
        yield "16 bits"
    if getattr(image, "is_animated", False):
        yield "several pictures"


def _is_deep(codec: str, arguments: Any) -> bool:
    """Whether Pillow reads colours of 16 bits there, of which it gives 8."""
    first, second = (*arguments, None, None)[:2] if isinstance(arguments, tuple) else (arguments, 0)
    if codec in ("ppm", "ppm_plain"):
        return isinstance(second, int) and second > 255
    return isinstance(first, str) and ";16" in first


def _traits_of_pixels(image: Image.Image) -> Iterator[Trait]:
    if orientation_of(image) != 1:
        yield "turned"
    if alpha_of(image) is not None:
        yield "transparent"
