"""Augmented views of the training images: a bank that is sent once, or always fresh ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_ray.data.dataset import Item
from craft_ray.data.pixels import PixelArray, augmented_pixels
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ImageHandle
from craft_ray.task.prepared import Augmentation, PreparedTask, ViewBank
from craft_ray.task.sending import view_images

# Independent random streams under one seed.
HEAD_STREAM, FITNESS_STREAM = 0, 1


def augmented_view(
    items: Sequence[Item], augmentation: Augmentation, stream: int, index: int
) -> PixelArray:
    """View number `index` of a stream, uint8 [N, 3, S, S]. It does not depend on the others, so
    that the first V fresh views are those of a bank of V."""
    seed = np.random.SeedSequence([augmentation.seed, stream, index]).generate_state(1)[0]
    return augmented_pixels(items, augmentation.transform, augmentation.crop_scale_min, int(seed))


def nth_view(oracle: MeteredOracle, prepared: PreparedTask, number: int) -> ImageHandle:
    """What is trained on when `number` views were before. A fresh one is sent now, and counted."""
    views = prepared.views
    if isinstance(views, ViewBank):
        return views.handles[number % len(views.handles)]
    return send_view(oracle, views.items, views.augmentation, number, keep=False)


def send_view(
    oracle: MeteredOracle,
    items: Sequence[Item],
    augmentation: Augmentation,
    number: int,
    *,
    keep: bool,
) -> ImageHandle:
    """Send view `number` of those that heads are trained on."""
    pixels = augmented_view(items, augmentation, HEAD_STREAM, number)
    return oracle.register_images(view_images(pixels, oracle.describe()), keep=keep)
