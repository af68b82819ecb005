"""Splits that are used as another than their names say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from craft_ray.config.data import SplitUse
from craft_ray.data.dataset import SPLITS, Dataset, Split
from craft_ray.data.split_names import split_of
from craft_ray.errors import DataError

SETTING: Mapping[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""How a user writes a split in `data.source.splits`."""


def with_splits_used(dataset: Dataset, use: SplitUse) -> Dataset:
    """The data set with its splits as `data.source.splits` says.

    A split of the files that is used as another is no longer itself: with `{test: validation}`
    there are no validation images left. A split that another takes the place of is left out, which
    a note says.

    Raises:
        DataError: a split that is to be used is not there.
    """
    wanted = {
        split: used
        for split, word in zip(SPLITS, (use.train, use.validation, use.test), strict=True)
        if word is not None and (used := split_of(word)) is not None
    }
    if not wanted:
        return dataset
    for split, used in wanted.items():
        if used not in dataset.splits:
            raise DataError(
                f"data.source.splits.{SETTING[split]}: must be a split that is there "
                f"({', '.join(SETTING[each] for each in dataset.splits)}), but got {SETTING[used]}"
            )
    taken = set(wanted.values())
    found = {
        split: dataset.splits[wanted.get(split, split)]
        for split in SPLITS
        if split in wanted or (split in dataset.splits and split not in taken)
    }
    notes = [*dataset.notes]
    for split in wanted:
        if split in dataset.splits and split not in taken:
            notes.append(
                f"the {len(dataset.splits[split]):,} {SETTING[split]} image(s) are left out: "
                f"data.source.splits uses {SETTING[wanted[split]]} as {SETTING[split]}"
            )
    return replace(dataset, splits=found, notes=tuple(notes))
