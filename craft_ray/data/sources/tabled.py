"""From the labels of a table, as people write them, to classes and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from craft_ray.config.data import SeededSplit
from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.dataset import SPLITS, Dataset, Item, Split
from craft_ray.data.lazy_sequence import Joined
from craft_ray.data.packed_items import PackedItems
from craft_ray.data.parquet_layout import Classes
from craft_ray.data.rows import Encoded
from craft_ray.data.sources.class_files import GivenNames
from craft_ray.data.sources.class_order import are_numbers, in_order
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.errors import DataError

UNLABELLED = -1
"""The label of test images whose labels are not published."""

Label = int | str | None
"""None: unlabelled."""


@dataclass
class Part:
    """The rows of one file."""

    split: Split | None
    where: str
    images: Sequence[Encoded]
    names: Sequence[str]
    """What messages call each image."""
    labels: Sequence[Label]
    declared: Classes | None = None
    """What the file itself says of the classes."""


def plain_labels(values: Iterable[Any], names: Sequence[str]) -> list[Label]:
    """Whole numbers and words, from what a column may hold: also truth values, whole floats, and
    nothing, NaN or -1 where a label is unknown.

    Raises:
        DataError: names the row whose label is another thing.
    """
    known: dict[int | str, Label] = {}  # so that a label is in memory once, and looked at once
    labels: list[Label] = []
    for index, value in enumerate(values):
        if isinstance(value, int | str):
            if value not in known:
                known[value] = _plain(value, names, index)
            labels.append(known[value])
        else:
            labels.append(_plain(value, names, index))
    return labels


def _plain(value: Any, names: Sequence[str], index: int) -> Label:
    if value is None or isinstance(value, str):
        return None if value in (None, "", str(UNLABELLED)) else value
    if isinstance(value, int):  # also True and False
        return None if value == UNLABELLED else int(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and value.is_integer():
        return _plain(int(value), names, index)
    raise DataError(f"{names[index]}: label must be a whole number or a word, but is {value!r}")


def dataset_of(
    name: str,
    parts: Sequence[Part],
    given: GivenNames | None,
    seeded: SeededSplit,
    remedy: str,
    notes: Iterable[str] = (),
) -> Dataset:
    """Put the parts together: one numbering of classes for all, unlabelled images left out.

    Args:
        name: of the data set.
        parts: its files, in their order. Of one without a split, all are without.
        given: the user's names of the classes, which go before the files' own.
        seeded: how images without a split are split.
        remedy: how names may be given, for who has none.
        notes: what was seen before.

    Raises:
        DataError: no image has a label, the files do not agree on the classes, or labels have no
            names.
    """
    told = list(notes)
    labels = _of_one_kind(parts, given)
    first_with: dict[int | str, str] = {}
    for part, of_part in zip(parts, labels, strict=True):
        for place, label in enumerate(of_part):
            if label is not None and label not in first_with:
                first_with[label] = part.names[place]
    if not first_with:
        if total := sum(map(len, labels)):
            law = f"at least one image must have a label, but of {total:,} none has"
        else:
            law = "must have at least one image, but the files have none"
        raise DataError(f"{name}: {law}")
    classes, number_of = _numbering(first_with, _declared(parts), given, remedy)
    _check_in_range(first_with, number_of, len(classes.names))
    found: dict[Split | None, Sequence[Item]] = {}
    for split in dict.fromkeys(part.split for part in parts):
        of_split = [each for each in zip(parts, labels, strict=True) if each[0].split == split]
        found[split], count = _labelled_items(of_split, number_of)
        if not count:
            continue
        where = "the data" if split is None else f"split {split}"
        if found[split]:
            told.append(f"{name}: {count:,} image(s) of {where} without a label are left out.")
        else:
            del found[split]
            told.append(
                f"{name}: {where} is left out, as none of its {count:,} images has a label."
            )
    for split, items in found.items():
        if not items:
            raise DataError(
                f"{name}: split {split} must have at least one image, but its files have no rows: "
                "take them away, if there are none"
            )
    splits = {split: found[split] for split in SPLITS if split in found}
    if None in found:
        splits = split_by_seed(found[None], classes.names, seeded)
    return Dataset(name, classes.names, splits, classes.scored, classes.ids, tuple(told))


def _labelled_items(
    parts: Sequence[tuple[Part, Sequence[Label]]], number_of: Mapping[int | str, int]
) -> tuple[PackedItems, int]:
    """The items of a split that have a label, and how many have none.

    Args:
        parts: of the split, with their labels.
        number_of: the class of each label.
    """
    numbers_N = np.fromiter(
        (
            UNLABELLED if label is None else number_of[label]
            for _, labels in parts
            for label in labels
        ),
        dtype=np.int32,
    )
    images = Joined([part.images for part, _ in parts])
    names = Joined([part.names for part, _ in parts])
    items = PackedItems(images, names, numbers_N)
    is_unlabelled_N = numbers_N == UNLABELLED
    if count := int(is_unlabelled_N.sum()):
        items = items.chosen(np.flatnonzero(~is_unlabelled_N))
    return items, count


def _check_in_range(
    first_with: Mapping[int | str, str], number_of: Mapping[int | str, int], num_classes: int
) -> None:
    """Raises:
    DataError: names the first image whose label is of no class.
    """
    for label, image_name in first_with.items():
        if not 0 <= number_of[label] < num_classes:
            raise DataError(
                f"{image_name}: 0 <= label < {num_classes} must hold, but got {number_of[label]}"
            )


def _declared(parts: Sequence[Part]) -> Classes | None:
    """What the files say of the classes, if one does.

    Raises:
        DataError: they do not agree.
    """
    first: Classes | None = None
    for part in parts:
        if part.declared is None:
            continue
        if first is not None and part.declared != first:
            raise DataError(f"{part.where}: class names must equal those of the other files")
        first = part.declared
    return first


def _of_one_kind(parts: Sequence[Part], given: GivenNames | None) -> list[Sequence[Label]]:
    """The labels of each part; digits that are no names of the user's are numbers."""
    labels = [part.labels for part in parts]
    words = {label for of_part in labels for label in of_part if isinstance(label, str)}
    if given is None or not words or words <= set(given.names):
        return labels
    if not are_numbers(words):
        return labels
    return [
        [int(label) if isinstance(label, str) else label for label in of_part] for of_part in labels
    ]


def _numbering(
    first_with: dict[int | str, str],
    declared: Classes | None,
    given: GivenNames | None,
    remedy: str,
) -> tuple[Classes, dict[int | str, int]]:
    """The classes, and the number of each label.

    Args:
        first_with: each label, and the first image that has it.
        declared: what the files say of the classes.
        given: what the user says.
        remedy: see `dataset_of`.
    """
    if given is not None and declared is not None and len(given.names) != len(declared.names):
        raise DataError(
            f"{given.where}: must name the {len(declared.names)} classes of the files, but has "
            f"{len(given.names)} names"
        )
    words = [label for label in first_with if isinstance(label, str)]
    numbers = [label for label in first_with if isinstance(label, int)]
    if words and numbers:
        raise DataError(
            f"{first_with[words[0]]}: labels must be all words or all numbers, but this one is "
            f"{words[0]!r} and that of {first_with[numbers[0]]} is {numbers[0]}"
        )
    if words:
        return _of_words(words, first_with, declared, given)
    if given is None:
        if declared is None:
            raise DataError(remedy)
        return declared, {number: number for number in numbers}  # `Dataset` checks their range
    position: dict[int | str, int] = {number: index for index, number in enumerate(given.numbers)}
    for number in numbers:
        if number not in position:
            from_one = 0 not in numbers and number == len(given.names)
            remedy = ' (where numbers begin at 1, give JSON: {"1": "cat", ...})' if from_one else ""
            raise DataError(
                f"{first_with[number]}: label must be a number that {given.where} names "
                f"({given.numbers[0]} to {given.numbers[-1]}), but is {number}{remedy}"
            )
    ids, scored = (None, None) if declared is None else (declared.ids, declared.scored)
    return Classes(given.names, ids, scored), position


def _of_words(
    words: Sequence[str],
    first_with: dict[int | str, str],
    declared: Classes | None,
    given: GivenNames | None,
) -> tuple[Classes, dict[int | str, int]]:
    """Classes of labels that are words: in the order of the names that are known, else sorted."""
    if given is not None:
        names, whose = given.names, given.where
    elif declared is not None:
        names, whose = declared.names, "the class names of the files"
    else:
        names, whose = in_order(words), ""
    number_of: dict[int | str, int] = {name: index for index, name in enumerate(names)}
    for word in words:
        if word not in number_of:
            raise DataError(
                f"{first_with[word]}: label must be one of {whose}, but is {word!r}"
                f"{did_you_mean(word, list(names))}"
            )
    return Classes(names), number_of
