"""Base and new classes: the two halves of a data set, as CoOp's loaders make them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_ray.config.data import ClassHalf
from craft_ray.data.dataset import Dataset, Item, labels_of
from craft_ray.data.packed_items import chosen_items, relabelled
from craft_ray.errors import DataError


def labels_of_half(num_classes: int, half: ClassHalf) -> range:
    """`base` is the first ceil(n / 2) labels, `new` the rest."""
    middle = -(-num_classes // 2)
    return {
        "all": range(num_classes),
        "base": range(middle),
        "new": range(middle, num_classes),
    }[half]


def items_of_half(items: Sequence[Item], labels: range) -> Sequence[Item]:
    """Those of these labels, which are counted from 0 again."""
    labels_N = labels_of(items)
    own = np.flatnonzero((labels_N >= labels.start) & (labels_N < labels.stop))
    return relabelled(chosen_items(items, own), labels_N[own] - labels.start)


def dataset_of_half(dataset: Dataset, half: ClassHalf) -> Dataset:
    """The data set as if it had these classes only; a split without any image of them is gone.

    Raises:
        DataError: the half has fewer than two classes, or no image at all.
    """
    if half == "all":
        return dataset
    labels = labels_of_half(len(dataset.class_names), half)
    if len(labels) < 2:
        raise DataError(
            f"data.classes: {half} must have at least 2 classes, but of the "
            f"{len(dataset.class_names)} of {dataset.name} it has {len(labels)}"
        )
    ids, scored = dataset.class_ids, dataset.scored_classes
    splits = {name: items_of_half(items, labels) for name, items in dataset.splits.items()}
    return Dataset(
        name=f"{dataset.name} ({half} classes)",
        class_names=dataset.class_names[labels.start : labels.stop],
        splits={name: items for name, items in splits.items() if items},
        scored_classes=None
        if scored is None
        else tuple(label - labels.start for label in scored if label in labels),
        class_ids=None if ids is None else ids[labels.start : labels.stop],
        notes=dataset.notes,
        has_names_only=dataset.has_names_only,
    )
