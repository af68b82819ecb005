"""Class names that say nothing in a prompt, and where better ones would come from."""

from __future__ import annotations

import re

from craft_ray.config.data import (
    CoopSource,
    CsvSource,
    DataSource,
    FolderSource,
    LabelledRows,
    ParquetSource,
)
from craft_ray.data.dataset import Dataset

_WORDNET_ID = re.compile(r"n\d{8}")


def mute_names(dataset: Dataset) -> dict[str, str]:
    """Class name -> what it is instead of a word: `a number` or `a WordNet id`."""
    found = {}
    for class_name in dataset.class_names:
        if class_name.strip().isdecimal():
            found[class_name] = "a number"
        elif _WORDNET_ID.fullmatch(class_name.strip()):
            found[class_name] = "a WordNet id"
    return found


def warning_of_mute_names(source: DataSource, dataset: Dataset) -> str | None:
    """What a run says of them before it starts, in a sentence; None if it has none.

    Args:
        source: where the names come from.
        dataset: has them.
    """
    found = mute_names(dataset)
    if not found:
        return None
    name, kind = next(iter(found.items()))
    return (
        f"{len(found):,} of {len(dataset.class_names):,} class names say nothing in a prompt "
        f"({name!r} is {kind}), so the model cannot use what it knows of the classes: "
        f"{_remedy(source, has_ids=kind == 'a WordNet id')}"
    )


def _remedy(source: DataSource, *, has_ids: bool) -> str:
    imagenet = ", or read ImageNet with data.source.kind=coop, which has its names"
    if isinstance(source, FolderSource):
        remedy = "rename the class folders of data.source.root to words, such as red_fox"
    elif isinstance(source, CsvSource):
        return "write words, such as red fox, into the column label of data.source.file"
    elif isinstance(source, ParquetSource):
        return (
            "name another column with data.source.label_column, or give words with "
            "data.source.class_names"
        )
    elif isinstance(source, LabelledRows):
        return "give words with data.source.class_names"
    elif isinstance(source, CoopSource):
        return "write words into the file of names that docs/data.md lists for the data set"
    else:
        return "give words"
    return remedy + (imagenet if has_ids else "")
