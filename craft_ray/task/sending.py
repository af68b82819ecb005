"""Images as the oracle takes them: recipes, pixels, or files that it decodes and resizes itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from craft_ray.data.crops import CropArray
from craft_ray.data.dataset import Item
from craft_ray.data.encoded import plain_files, png_files
from craft_ray.data.pixels import PixelArray, cropped_pixels, plain_pixels
from craft_ray.data.recipe import Recipe, Sources
from craft_ray.data.threads import map_in_threads
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ImageHandle, Images, OracleDescription

IMAGES_PER_BLOCK = 512
"""Of a set that is registered as several: a question about it is answered by several replicas, and
the arithmetic is the same however many there are. Two forwards of 256 on a GPU fill it."""

FILES_OVER_PIXELS = 2
"""Files of a block may have so many times the bytes of a view of it: 300 KB each at 224 pixels. Of
larger ones, photographs of several megapixels, pixels are sent."""


def plain_images(items: Sequence[Item], description: OracleDescription) -> Images:
    """Whole images, for `Oracle.register_images`.

    Raises:
        DataError: one cannot be read.
    """
    if description.takes_files:
        return plain_files(items)
    return plain_pixels(items, description.transform)


def send(
    oracle: MeteredOracle,
    sources: Sources,
    crops_N5: CropArray | None = None,
    *,
    keep: bool = True,
) -> ImageHandle:
    """Register images.

    An oracle that takes recipes makes the pixels itself, a block of them at a time, if the files
    are not much larger. For another one all are made here.

    Args:
        oracle: counts them.
        sources: the images, at least one.
        crops_N5: which part of each is shown; None: whole images.
        keep: see `Oracle.register_images`.

    Raises:
        DataError: one cannot be read.
    """
    description = oracle.describe()
    if not description.takes_recipes:
        return oracle.register_images(_made_here(sources.items, crops_N5, description), keep=keep)
    handles = []
    for rows in _blocks(len(sources.items)):
        crops = None if crops_N5 is None else crops_N5[rows]
        images = _block(sources.part(rows), crops, description)
        handles.append(oracle.register_images(images, keep=keep))
    return ImageHandle.in_a_row(handles)


def send_passing(oracle: MeteredOracle, items: Sequence[Item]) -> ImageHandle:
    """Register whole images that are asked about soon and then not again. Each is read once, but
    for the first of much larger files.

    Raises:
        DataError: one cannot be read.
    """
    description = oracle.describe()
    if not description.takes_recipes:
        return oracle.register_images(plain_images(items, description), keep=False)
    handles = [
        oracle.register_images(_passing_block(items[rows], description), keep=False)
        for rows in _blocks(len(items))
    ]
    return ImageHandle.in_a_row(handles)


def _blocks(num_images: int) -> list[slice]:
    return [slice(at, at + IMAGES_PER_BLOCK) for at in range(0, num_images, IMAGES_PER_BLOCK)]


def _passing_block(items: Sequence[Item], description: OracleDescription) -> Images:
    """A recipe with its files; or pixels, as soon as the files that were read are much larger: no
    more of them are held."""
    room = _most_bytes(len(items), description)
    held: list[Item] = []
    with closing(map_in_threads(Item.read, items)) as contents:
        for item, data in zip(items, contents, strict=True):
            held.append(replace(item, encoded=data))
            room -= len(data)
            if room < 0:
                break
    if room < 0:
        return _made_here([*held, *items[len(held) :]], None, description)
    return Recipe.of(Sources.of(held), description.transform, None)


def _most_bytes(num_images: int, description: OracleDescription) -> int:
    """Of files that are sent as they are."""
    return FILES_OVER_PIXELS * num_images * 3 * description.image_size**2


def _block(sources: Sources, crops_N5: CropArray | None, description: OracleDescription) -> Images:
    """What is registered: a recipe, or pixels where the files are much larger."""
    if sum(sources.sizes) > _most_bytes(len(sources.items), description):
        return _made_here(sources.items, crops_N5, description)
    return Recipe.of(sources, description.transform, crops_N5)


def _made_here(
    items: Sequence[Item], crops_N5: CropArray | None, description: OracleDescription
) -> Images:
    if crops_N5 is None:
        return plain_images(items, description)
    pixels_NSS: PixelArray = cropped_pixels(items, description.transform, crops_N5)
    return png_files(pixels_NSS) if description.takes_files else pixels_NSS
