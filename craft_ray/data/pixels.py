"""From images to the arrays an oracle takes: uint8 [N, 3, S, S], S = the oracle's image size.

Whole images are those of open_clip's transform for evaluation, and random views those of
torchvision, pixel by pixel and draw by draw (tests compare them). The import of torchvision costs
two seconds of CPU, most of them for torch's compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.data.dataset import Item
from craft_ray.data.threads import map_in_threads
from craft_ray.data.transform import ImageTransform

if TYPE_CHECKING:
    import torch

PixelArray = npt.NDArray[np.uint8]

ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Of random crops."""
MAX_DRAWS = 10
"""Of a crop that has to fit into the image; then the centre is taken."""

LONGEST_TO_SHORT = 300
"""Sides of an image; of a longer one the ends are cut off before its short side is resized. Else a
file of some hundred bytes, 60,000 pixels by one, would become gigabytes."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


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

    pixels_NSS = np.empty((len(items), 3, how.size, how.size), np.uint8)
    # Nothing random here: threads change the speed only.
    for position, pixels in enumerate(map_in_threads(view, items)):
        pixels_NSS[position] = pixels
    return pixels_NSS


def augmented_pixels(
    items: Sequence[Item], transform: ImageTransform | int, crop_scale_min: float, seed: int
) -> PixelArray:
    """One random view of each image: random resized crop and horizontal flip (CraFT appendix).

    A crop becomes a square in the model's interpolation, whatever its `resize_mode`: the views are
    those of the paper. The same seed gives the same views, whatever else draws random numbers.
    uint8 [N, 3, S, S].

    Raises:
        DataError: an image cannot be read.
    """
    # Here: a data set is read, sampled and checked without it.
    import torch

    how = _transform(transform)
    generator = torch.Generator().manual_seed(seed)
    views = []
    for item in items:
        image = item.decode()
        view = image.crop(_random_box(image.size, crop_scale_min, generator))
        view = view.resize((how.size, how.size), RESAMPLING[how.interpolation])
        if torch.rand(1, generator=generator) < 0.5:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        views.append(_to_array(view))
    return np.stack(views)


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


def _random_box(size: tuple[int, int], scale_min: float, generator: torch.Generator) -> Box:
    """A part of at least `scale_min` of the area, of about the aspect ratio of the whole."""
    import torch

    width, height = size
    log_ratios = torch.log(torch.tensor(ASPECT_RATIOS)).tolist()
    for _ in range(MAX_DRAWS):
        share = torch.empty(1).uniform_(scale_min, 1.0, generator=generator).item()
        ratio = torch.empty(1).uniform_(*log_ratios, generator=generator).exp().item()
        part_width = round(math.sqrt(width * height * share * ratio))
        part_height = round(math.sqrt(width * height * share / ratio))
        if 0 < part_width <= width and 0 < part_height <= height:
            top = int(torch.randint(height - part_height + 1, (1,), generator=generator))
            left = int(torch.randint(width - part_width + 1, (1,), generator=generator))
            return left, top, left + part_width, top + part_height
    low, high = ASPECT_RATIOS
    part_width = min(width, round(height * high))
    part_height = min(height, round(width / low))
    left, top = (width - part_width) // 2, (height - part_height) // 2
    return left, top, left + part_width, top + part_height


def _to_array(image: Image.Image) -> PixelArray:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
