"""Few-shot sampling exactly as CoOp does it (Zhou et al., IJCV 2022), so seeds mean the same."""

from __future__ import annotations

import random
from collections.abc import Sequence

from craft_ray.data.dataset import Dataset, Item
from craft_ray.errors import DataError


def sample_few_shot(
    dataset: Dataset, shots: int, seed: int, *, repeat_small_classes: bool = False
) -> list[Item]:
    """Draw `shots` training images a class.

    `random.seed(seed)`; then for each class, in the order in which its label first appears in
    the training list, `random.sample`; a smaller class is drawn with repetition if that is asked.

    Raises:
        DataError: a class has fewer than `shots` images and may not be repeated.
    """
    by_label: dict[int, list[Item]] = {}
    for item in dataset.splits["train"]:
        by_label.setdefault(item.label, []).append(item)
    generator = random.Random(seed)
    chosen: list[Item] = []
    for label, items in by_label.items():
        if len(items) >= shots:
            chosen += generator.sample(items, shots)
        elif repeat_small_classes:
            chosen += generator.choices(items, k=shots)
        else:
            raise DataError(
                f"data.shots: shots <= images a class must hold, but got shots={shots} and class "
                f"{dataset.class_names[label]!r} has {len(items)} (data.repeat_small_classes=true "
                "samples it with repetition)"
            )
    return chosen


def verify_decodable(items: Sequence[Item]) -> None:
    """Decode every image once.

    Raises:
        DataError: names the first image that cannot be read.
    """
    for item in items:
        item.decode()
