"""Augmented views of the training images: a bank that is sent once, or always fresh ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from craft_ray.data.crops import CropArray, SizeArray, draw_crops
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ImageHandle
from craft_ray.task.prepared import Augmentation, PreparedTask, ViewBank
from craft_ray.task.sending import send

# Independent random streams under one seed.
HEAD_STREAM, FITNESS_STREAM = 0, 1


def view_crops(
    sizes_N2: SizeArray, augmentation: Augmentation, stream: int, index: int
) -> CropArray:
    """What view number `index` of a stream shows of images of these sizes. It does not depend on
    the others, so that the first V fresh views are those of a bank of V."""
    seed = np.random.SeedSequence([augmentation.seed, stream, index]).generate_state(1)[0]
    return draw_crops(sizes_N2, augmentation.crop_scale_min, int(seed))


@contextmanager
def nth_view(oracle: MeteredOracle, prepared: PreparedTask, number: int) -> Iterator[ImageHandle]:
    """What is trained on when `number` views were before. A fresh one is sent now, and counted; it
    is forgotten when the block is left."""
    views = prepared.views
    if isinstance(views, ViewBank):
        yield views.handles[number % len(views.handles)]
        return
    crops_N5 = view_crops(views.sizes_N2, views.augmentation, HEAD_STREAM, number)
    view = send(oracle, views.sources, crops_N5, keep=False)
    try:
        yield view
    finally:
        oracle.forget(view)
