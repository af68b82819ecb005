"""From images to the arrays an oracle takes: uint8 [N, 3, S, S], S = the oracle's image size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from craft_ray.data.dataset import Item
from craft_ray.data.threads import map_in_threads

PixelArray = npt.NDArray[np.uint8]


def plain_pixels(items: Sequence[Item], image_size: int) -> PixelArray:
    """CLIP's evaluation view: resize the short side, crop the centre. uint8 [N, 3, S, S]."""
    transform = v2.Compose(
        [
            v2.Resize(image_size, interpolation=InterpolationMode.BICUBIC),
            v2.CenterCrop(image_size),
        ]
    )

    def view(item: Item) -> PixelArray:
        return _to_array(transform(item.decode()))

    pixels_NSS = np.empty((len(items), 3, image_size, image_size), np.uint8)
    # Nothing random here: threads change the speed only.
    for position, pixels in enumerate(map_in_threads(view, items)):
        pixels_NSS[position] = pixels
    return pixels_NSS


def augmented_pixels(
    items: Sequence[Item], image_size: int, crop_scale_min: float, seed: int
) -> PixelArray:
    """One random view of each image: RandomResizedCrop and horizontal flip (CraFT appendix).

    The same seed gives the same views, whatever else draws random numbers. uint8 [N, 3, S, S].
    """
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(
                image_size, scale=(crop_scale_min, 1.0), interpolation=InterpolationMode.BICUBIC
            ),
            v2.RandomHorizontalFlip(),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return np.stack([_to_array(transform(item.decode())) for item in items])


def _to_array(image: Image.Image) -> PixelArray:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))
