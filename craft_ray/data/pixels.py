"""From images to the arrays an oracle takes: uint8 [N, 3, S, S], S = the oracle's image size.

Whole images are those of open_clip's transform for evaluation, and random views those of
torchvision, pixel by pixel (tests compare them). The import of torchvision costs two seconds of
CPU, most of them for torch's compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.data.crops import CropArray, draw_crops, sizes_of
from craft_ray.data.dataset import Item
from craft_ray.data.threads import map_in_threads
from craft_ray.data.transform import ImageTransform

Input = TypeVar("Input")
PixelArray = npt.NDArray[np.uint8]

LONGEST_TO_SHORT = 300
"""Sides of an image; of a longer one the ends are cut off before its short side is resized. Else a
file of some hundred bytes, 60,000 pixels by one, would become gigabytes."""

RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def plain_pixels(items: Sequence[Item], transform: ImageTransform | int) -> PixelArray:
    """Whole images, as the model's own transform for evaluation makes them. uint8 [N, 3, S, S].

    Args:
        items: images.
        transform: of the model; a number is an image size of CLIP's own transform.

    Raises:
        DataError: an image cannot be read.
    """
    how = _transform(transform)

    def view(item: Item) -> PixelArray:
        return _to_array(_plain_view(item.decode(), how))

    return _filled(view, items, how.size)


def augmented_pixels(
    items: Sequence[Item], transform: ImageTransform | int, crop_scale_min: float, seed: int
) -> PixelArray:
    """One random view of each image: random resized crop and horizontal flip (CraFT appendix).
    uint8 [N, 3, S, S].

    Raises:
        DataError: an image cannot be read.
    """
    return cropped_pixels(items, transform, draw_crops(sizes_of(items), crop_scale_min, seed))


def cropped_pixels(
    items: Sequence[Item], transform: ImageTransform | int, crops_N5: CropArray
) -> PixelArray:
    """A part of each image as a square. uint8 [N, 3, S, S].

    It becomes one in the model's interpolation, whatever its `resize_mode`: the views are those of
    the paper.

    Raises:
        DataError: an image cannot be read.
    """
    how = _transform(transform)

    def view(item_and_crop: tuple[Item, list[int]]) -> PixelArray:
        item, (left, top, right, bottom, is_flipped) = item_and_crop
        part = item.decode().crop((left, top, right, bottom))
        part = part.resize((how.size, how.size), RESAMPLING[how.interpolation])
        return _to_array(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_flipped else part)

    return _filled(view, list(zip(items, crops_N5.tolist(), strict=True)), how.size)


def _filled(view: Callable[[Input], PixelArray], inputs: Sequence[Input], size: int) -> PixelArray:
    pixels_NSS = np.empty((len(inputs), 3, size, size), np.uint8)
    # Nothing random here: threads change the speed only.
    for position, pixels in enumerate(map_in_threads(view, inputs)):
        pixels_NSS[position] = pixels
    return pixels_NSS


def _transform(transform: ImageTransform | int) -> ImageTransform:
    return transform if isinstance(transform, ImageTransform) else ImageTransform(transform)


def _plain_view(image: Image.Image, how: ImageTransform) -> Image.Image:
    resampling = RESAMPLING[how.interpolation]
    if how.resize_mode == "squash":
        return image.resize((how.size, how.size), resampling)
    if how.resize_mode == "longest":
        return _padded_view(image, how, resampling)
    size, short = how.size, min(image.size)
    width, height = (min(side, LONGEST_TO_SHORT * short) for side in image.size)
    if (width, height) != image.size:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    resized = image.resize((int(size * width / short), int(size * height / short)), resampling)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    return resized.crop((left, top, left + size, top + size))


def _padded_view(
    image: Image.Image, how: ImageTransform, resampling: Image.Resampling
) -> Image.Image:
    ratio = max(image.size) / how.size
    # open_clip fails where a side becomes 0; such a line is drawn one pixel wide.
    width, height = (max(1, round(side / ratio)) for side in image.size)
    resized = image.resize((width, height), resampling)
    square = Image.new("RGB", (how.size, how.size), (how.fill_color,) * 3)
    square.paste(resized, ((how.size - width) // 2, (how.size - height) // 2))
    return square


def _to_array(image: Image.Image) -> PixelArray:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
