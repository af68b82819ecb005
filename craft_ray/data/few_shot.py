"""Few-shot sampling exactly as CoOp does it (Zhou et al., IJCV 2022), so seeds mean the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from craft_ray.data.appearance import Trait, examine
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.rows import ParquetRow
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

Validation = Literal["full", "few_shot", "none"]
Shots = int | Literal["all"]

MAX_VALIDATION_SHOTS = 4
"""CoOp's: of a few-shot validation there are min(shots, 4) images a class."""


@dataclass(frozen=True)
class Sample:
    """The images that a fine-tuning may look at."""

    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    rest: tuple[Item, ...] = ()
    """Training images that are in neither."""


def sample_few_shot(
    dataset: Dataset,
    shots: Shots,
    seed: int,
    *,
    validation: Validation = "full",
    repeat_small_classes: bool = False,
) -> Sample:
    """Draw `shots` training images a class, or take all, and draw the images to validate on.

    `random.seed(seed)`; then for each class, in the order in which its label first appears in
    the training list, `random.sample`; a smaller class is drawn with repetition if that is asked.

    Validation is the whole validation split, or (`few_shot`) min(shots, 4) images a class of it,
    drawn in the same way from the same stream after train. A data set without a validation split
    has min(shots, 4) of the training images that were not chosen, from the same stream after
    train. A class with fewer gives what it has, as in CoOp. With `none` no image is drawn for it,
    and the training images are those that the same seed gives otherwise.

    Raises:
        DataError: a class has fewer than `shots` images and may not be repeated; or there is no
            validation split and no training image is left.
    """
    train = dataset.splits["train"] if shots != 0 else dataset.splits.get("train", ())
    generator = random.Random(seed)
    chosen: list[int] = []
    # Positions are drawn, not items: `random` consumes the same numbers, and what is left is known.
    for positions in _by_label(train, range(len(train))).values():
        if shots == "all":
            chosen += positions
        elif len(positions) >= shots:
            chosen += generator.sample(positions, shots)
        elif repeat_small_classes:
            chosen += generator.choices(positions, k=shots)
        else:
            raise _too_few(dataset, shots)
    left: Sequence[int]
    if validation == "none":
        source, left = train, []
    elif "val" in dataset.splits:
        source = dataset.splits["val"]
        left = range(len(source))
    else:
        source, taken = train, set(chosen)
        left = [position for position in range(len(train)) if position not in taken]
        if not left:
            fewer = f"say data.shots={shots - 1}, " if shots != "all" and shots > 1 else ""
            raise DataError(
                f"{dataset.name}: without a validation split, training images must be left for "
                f"validation, but data.shots={shots} takes all {len(train)}: {fewer}say "
                "data.validation=none, which does without, or add images"
            )
    if left and ("val" not in dataset.splits or validation == "few_shot"):
        count = MAX_VALIDATION_SHOTS if shots == "all" else min(shots, MAX_VALIDATION_SHOTS)
        left = _at_most(_by_label(source, left), count, generator)
    used = {*chosen, *(left if source is train else ())}
    return Sample(
        tuple(train[position] for position in chosen),
        tuple(source[position] for position in left),
        tuple(item for position, item in enumerate(train) if position not in used),
    )


def _by_label(items: Sequence[Item], positions: Sequence[int]) -> dict[int, list[int]]:
    """Positions of each label, in the order in which the labels first appear."""
    by_label: dict[int, list[int]] = {}
    for position in positions:
        by_label.setdefault(items[position].label, []).append(position)
    return by_label


def _at_most(by_label: dict[int, list[int]], count: int, generator: random.Random) -> list[int]:
    """`count` positions a label, or all where there are fewer: these take no random number."""
    drawn: list[int] = []
    for positions in by_label.values():
        enough = len(positions) >= count
        drawn += generator.sample(positions, count) if enough else positions
    return drawn


def hold_in_memory(items: Sequence[Item]) -> tuple[Item, ...]:
    """The same images, with the bytes in place of rows of Parquet files.

    A few images drawn from all over a file would read its row groups again and again, in each
    epoch: here each is read once, in the order of the file.

    Raises:
        DataError: a file cannot be read.
    """
    rows = {item.encoded: item for item in items if isinstance(item.encoded, ParquetRow)}
    order = sorted(rows, key=lambda row: (row.file, row.row_group, row.row))
    contents = {row: rows[row].read() for row in order}
    return tuple(
        replace(item, encoded=contents[item.encoded])
        if isinstance(item.encoded, ParquetRow)
        else item
        for item in items
    )


def verify_decodable(items: Sequence[Item]) -> Counter[Trait]:
    """Decode every image once, in several threads; how many have each trait.

    Raises:
        DataError: names the first image, in the order of `items`, that cannot be read, and the
            commands that find the others and leave them out.
    """
    counts: Counter[Trait] = Counter()
    try:
        for traits in map_in_threads(examine, items):
            counts.update(traits)
    except DataError as error:
        raise DataError(
            f"{error}; `craft-ray data check` lists all such images, `craft-ray data convert SRC "
            "DST --skip-broken` writes a data set without them"
        ) from error
    return counts


def _too_few(dataset: Dataset, shots: int) -> DataError:
    """Names the smallest class: with as many shots as it has images, no other one is too small."""
    by_label = _by_label(dataset.splits["train"], range(len(dataset.splits["train"])))
    label, fewest = min(
        ((label, len(positions)) for label, positions in by_label.items()), key=lambda one: one[1]
    )
    return DataError(
        f"data.shots: shots <= images a class must hold, but got shots={shots} and class "
        f"{dataset.class_names[label]!r} has {fewest} training images, the fewest: say "
        f"data.shots={fewest}; data.shots=all, which takes all images of every class; or "
        "data.repeat_small_classes=true, which samples them with repetition"
    )
