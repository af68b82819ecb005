"""The words by which people call the splits of a data set, for every kind of source."""

from __future__ import annotations

from collections.abc import Mapping

from craft_ray.data.dataset import Split

SPLIT_WORDS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "valid": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""In lower case. The first word of a split is its usual name."""


def split_of(word: str) -> Split | None:
    """The split that a folder, a file or a value of a column names, whatever its case; None if it
    names none."""
    return SPLIT_WORDS.get(word.strip().lower())
