"""Few-shot sampling exactly as CoOp does it (Zhou et al., IJCV 2022), so seeds mean the same."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from craft_ray.data.appearance import Trait, examine
from craft_ray.data.dataset import Dataset, Item, labels_of
from craft_ray.data.packed_items import PlaceArray, chosen_items, places_of_labels
from craft_ray.data.rows import ParquetRow
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

Validation = Literal["full", "few_shot", "none"]
Shots = int | Literal["all"]

MAX_VALIDATION_SHOTS = 4
"""CoOp's: of a few-shot validation there are min(shots, 4) images a class."""

NONE: PlaceArray = np.zeros(0, dtype=np.int64)
"""No places."""


@dataclass(frozen=True)
class Sample:
    """The images that a fine-tuning may look at."""

    train: Sequence[Item]
    validation: Sequence[Item]
    rest: Sequence[Item] = ()
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
    train = dataset.splits.get("train", ())  # none are needed for `shots` of 0
    generator = random.Random(seed)
    train_labels_N = labels_of(train)
    chosen: list[PlaceArray] = []
    # Positions are drawn, not items: `random` consumes the same numbers, and what is left is known.
    for positions in places_of_labels(train_labels_N, np.arange(len(train))).values():
        if shots == "all":
            chosen.append(positions)
        elif len(positions) >= shots:
            chosen.append(positions[generator.sample(range(len(positions)), shots)])
        elif repeat_small_classes:
            chosen.append(positions[generator.choices(range(len(positions)), k=shots)])
        else:
            raise _too_few(dataset, shots)
    drawn = _joined(chosen)
    is_used_N = np.zeros(len(train), dtype=bool)
    is_used_N[drawn] = True
    if validation == "none":
        source, left = train, NONE
    elif "val" in dataset.splits:
        source = dataset.splits["val"]
        left = np.arange(len(source))
    else:
        source, left = train, np.flatnonzero(~is_used_N)
        if not len(left):
            fewer = f"say data.shots={shots - 1}, " if shots != "all" and shots > 1 else ""
            raise DataError(
                f"{dataset.name}: without a validation split, training images must be left for "
                f"validation, but data.shots={shots} takes all {len(train)}: {fewer}say "
                "data.validation=none, which does without, or add images"
            )
    if len(left) and ("val" not in dataset.splits or validation == "few_shot"):
        count = MAX_VALIDATION_SHOTS if shots == "all" else min(shots, MAX_VALIDATION_SHOTS)
        left = _at_most(places_of_labels(labels_of(source), left), count, generator)
    if source is train:
        is_used_N[left] = True
    return Sample(
        _given(train, drawn, are_few=shots != "all"),
        _given(source, left, are_few=len(left) < len(source)),
        chosen_items(train, np.flatnonzero(~is_used_N)),
    )


def _joined(parts: Sequence[PlaceArray]) -> PlaceArray:
    return np.concatenate(parts) if parts else NONE


def _given(items: Sequence[Item], places_M: PlaceArray, *, are_few: bool) -> Sequence[Item]:
    """Those at these places; few are made now, so that they do not hold the whole index."""
    chosen = chosen_items(items, places_M)
    return tuple(chosen) if are_few else chosen


def _at_most(
    by_label: Mapping[int, PlaceArray], count: int, generator: random.Random
) -> PlaceArray:
    """`count` positions a label, or all where there are fewer: these take no random number."""
    drawn = []
    for positions in by_label.values():
        enough = len(positions) >= count
        taken = generator.sample(range(len(positions)), count) if enough else slice(None)
        drawn.append(positions[taken])
    return _joined(drawn)


def hold_in_memory(items: Sequence[Item]) -> Sequence[Item]:
    """The same images, with the bytes in place of rows of Parquet files.

    A few images drawn from all over a file would read its row groups again and again, in each
    epoch: here each is read once, in the order of the file.

    Raises:
        DataError: a file cannot be read.
    """
    rows = {item.encoded: item for item in items if isinstance(item.encoded, ParquetRow)}
    if not rows:
        return items
    order = sorted(rows, key=lambda row: (row.file, row.row_group, row.row))
    contents = {row: rows[row].read() for row in order}
    return tuple(
        replace(item, encoded=contents[item.encoded])
        if isinstance(item.encoded, ParquetRow)
        else item
        for item in items
    )


def verify_decodable(items: Iterable[Item]) -> Counter[Trait]:
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


def decodable(items: Sequence[Item]) -> tuple[Sequence[Item], Counter[Trait]]:
    """The images that can be decoded, and how many of them have each trait."""
    counts: Counter[Trait] = Counter()
    kept = array("L")
    for place, traits in enumerate(map_in_threads(_traits_if_decodable, items)):
        if traits is not None:
            kept.append(place)
            counts.update(traits)
    return chosen_items(items, kept), counts


def _traits_if_decodable(item: Item) -> frozenset[Trait] | None:
    try:
        return examine(item)
    except DataError:
        return None


def _too_few(dataset: Dataset, shots: int) -> DataError:
    """Names the smallest class: with as many shots as it has images, no other one is too small."""
    labels_N = labels_of(dataset.splits["train"])
    by_label = places_of_labels(labels_N, np.arange(len(labels_N)))
    label, fewest = min(
        ((label, len(positions)) for label, positions in by_label.items()), key=lambda one: one[1]
    )
    return DataError(
        f"data.shots: shots <= images a class must hold, but got shots={shots} and class "
        f"{dataset.class_names[label]!r} has {fewest} training images, the fewest: say "
        f"data.shots={fewest}; data.shots=all, which takes all images of every class; or "
        "data.repeat_small_classes=true, which samples them with repetition"
    )
