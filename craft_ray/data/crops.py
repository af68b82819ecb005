"""Which part of each image a random view shows, drawn before any pixel is decoded: torchvision's
random resized crop and horizontal flip, draw by draw (tests compare them)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from craft_ray.data.dataset import Item
from craft_ray.data.decoding import orientation_of
from craft_ray.data.threads import map_in_threads

if TYPE_CHECKING:
    import torch

CropArray = npt.NDArray[np.int32]
"""[N, 5]: left, top, right and bottom of the part in pixels, and 1 if it is flipped."""
SizeArray = npt.NDArray[np.int32]
"""[N, 2]: width and height in pixels."""

ASPECT_RATIOS = (3 / 4, 4 / 3)
"""Of random crops."""
MAX_DRAWS = 10
"""Of a crop that has to fit into the image; then the centre is taken."""
TURNED_ON_THE_SIDE = (5, 6, 7, 8)
"""EXIF's numbers with which width and height change places."""


def sizes_of(items: Sequence[Item]) -> SizeArray:
    """Width and height of each image as `Item.decode` gives it.

    Raises:
        DataError: an image cannot be read.
    """
    sizes = list(map_in_threads(_size_of, items))
    return np.array(sizes, dtype=np.int32).reshape(len(items), 2)


def draw_crops(sizes_N2: SizeArray, crop_scale_min: float, seed: int) -> CropArray:
    """One random view of each image. The same seed gives the same views, whatever else draws random
    numbers.

    Args:
        sizes_N2: of the images.
        crop_scale_min: smallest share of the area.
        seed: of the draws, which the images take in turn.
    """
    # Here: a data set is read, sampled and checked without it.
    import torch

    generator = torch.Generator().manual_seed(seed)
    crops_N5 = np.empty((len(sizes_N2), 5), dtype=np.int32)
    for place, (width, height) in enumerate(sizes_N2.tolist()):
        crops_N5[place, :4] = _random_box(width, height, crop_scale_min, generator)
        crops_N5[place, 4] = bool(torch.rand(1, generator=generator) < 0.5)
    return crops_N5


def _size_of(item: Item) -> tuple[int, int]:
    with item.open() as image:
        if image.format == "JPEG":  # of others, how they are turned may stand behind the pixels
            width, height = image.size
            turns = item.decoding.exif_orientation and orientation_of(image) in TURNED_ON_THE_SIDE
            return (height, width) if turns else (width, height)
    return item.decode().size


def _random_box(
    width: int, height: int, scale_min: float, generator: torch.Generator
) -> tuple[int, int, int, int]:
    """A part of at least `scale_min` of the area, of about the aspect ratio of the whole."""
    import torch

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
