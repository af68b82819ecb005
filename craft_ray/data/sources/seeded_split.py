"""Train, validation and test of data that come without a split."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import numpy as np

from craft_ray.config.data import SeededSplit
from craft_ray.data.dataset import SPLITS, Item, Split, labels_of
from craft_ray.data.packed_items import chosen_items, places_of_labels
from craft_ray.errors import DataError


def split_by_seed(
    items: Sequence[Item], class_names: Sequence[str], settings: SeededSplit
) -> dict[Split, Sequence[Item]]:
    """Split each class by itself: shuffled by the seed, then cut at the shares, rounded, with at
    least one image each. CoOp makes its splits so (50, 20 and 30 percent).

    The splits keep the order of `items`.

    Raises:
        DataError: a class has too few images for an image in each split.
    """
    by_label = places_of_labels(labels_of(items), np.arange(len(items)))
    generator = random.Random(settings.split_seed)
    chosen: dict[Split, array[int]] = {split: array("L") for split in SPLITS}
    needed = 3 if settings.val_share else 2
    for label, class_name in enumerate(class_names):
        positions = by_label[label].tolist() if label in by_label else []
        total = len(positions)
        if total < needed:
            raise DataError(
                f"class {class_name!r}: at least {needed} images are needed to split it "
                f"into train, {'val, ' if settings.val_share else ''}test, but got {total}: add "
                "images, leave the class out, or split the images yourself (folders train and val, "
                "or a column split)"
            )
        generator.shuffle(positions)
        num_val = max(1, round(total * settings.val_share)) if settings.val_share else 0
        num_val = min(num_val, total - 2)
        num_train = min(max(1, round(total * settings.train_share)), total - num_val - 1)
        chosen["train"].extend(positions[:num_train])
        chosen["val"].extend(positions[num_train : num_train + num_val])
        chosen["test"].extend(positions[num_train + num_val :])
    return {
        split: chosen_items(items, np.sort(positions))
        for split, positions in chosen.items()
        if positions
    }
