"""Names of the classes that a user gives beside the data: `data.source.class_names`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from craft_ray.config.data import NamesSource
from craft_ray.data.dataset import Dataset, check_class_names
from craft_ray.errors import DataError
from craft_ray.files.remote import Place, locate

MAX_BYTES = 16 * 2**20
"""No file of names is as large; one that is, is something else."""


@dataclass(frozen=True)
class GivenNames:
    """Names in the order of their numbers in the data, which need not begin at 0."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    where: str

    @staticmethod
    def counted(names: tuple[str, ...], where: str) -> GivenNames:
        """Names whose numbers are 0, 1, ..."""
        return GivenNames(names, tuple(range(len(names))), where)


def given_names(setting: tuple[str, ...] | str | None) -> GivenNames | None:
    """What `data.source.class_names` says: the names themselves, or a file of them.

    Raises:
        DataError: the file cannot be read, or has no names.
    """
    if setting is None:
        return None
    if isinstance(setting, str):
        return names_in_file(locate(setting))
    return GivenNames.counted(setting, "data.source.class_names")


def load_names(source: NamesSource) -> Dataset:
    """Classes of which there is no image.

    Raises:
        DataError: the file of names cannot be read, or has none.
    """
    return Dataset("names", _names(source.class_names), {}, has_names_only=True)


def with_more_classes(dataset: Dataset, setting: tuple[str, ...] | str) -> Dataset:
    """A data set with further classes after its own, which have no images.

    Args:
        dataset: as its files say.
        setting: `data.more_classes`; names that the data set has are passed over.

    Raises:
        DataError: names do not tell the classes apart, or cannot be read.
    """
    more = tuple(name for name in dict.fromkeys(_names(setting)) if name not in dataset.class_names)
    if not more:
        return dataset
    if dataset.class_ids is not None:
        raise DataError(
            f"data.more_classes: must be empty for {dataset.name}, whose classes have ids"
        )
    whole = replace(dataset, class_names=(*dataset.class_names, *more))
    check_class_names(whole)
    return whole


def _names(setting: tuple[str, ...] | str) -> tuple[str, ...]:
    return setting if isinstance(setting, tuple) else names_in_file(locate(setting)).names


def names_in_file(path: Place) -> GivenNames:
    """One name a line; or JSON: a list, number -> name (`id2label`), name -> number
    (`label2id`), or `dataset_info.json` of Hugging Face `datasets`.

    Raises:
        DataError: it cannot be read, or is none of these.
    """
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has {len(content):,} bytes")
        text = content.decode("utf-8-sig")
        if path.name.lower().endswith(".json"):
            return _of_json(json.loads(text), str(path))
        return GivenNames.counted(_lines(text), str(path))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}: must have class names, one a line in UTF-8, or in JSON a list or number -> "
            f"name, but: {error}"
        ) from error


def _lines(text: str) -> tuple[str, ...]:
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not all(names):
        raise ValueError(f"line {names.index('') + 1 if names else 1} is empty")
    return tuple(names)


def _of_json(document: Any, where: str) -> GivenNames:
    if isinstance(document, dict) and isinstance(document.get("features"), dict):
        found = [names for one in document["features"].values() if (names := names_of_feature(one))]
        if len(found) != 1:
            raise ValueError(f"of its features, one must be a ClassLabel, but {len(found)} are")
        document = list(found[0])
    if isinstance(document, list):
        if not document or not all(isinstance(name, str) for name in document):
            raise ValueError("a list must be one of names")
        return GivenNames.counted(tuple(document), where)
    if not isinstance(document, dict) or not document:
        raise ValueError("it is neither a list nor number -> name")
    if all(isinstance(number, int) for number in document.values()):
        if len(set(document.values())) < len(document):
            raise ValueError("two names have one number")
        document = {number: name for name, number in document.items()}
    by_number = {int(number): name for number, name in document.items()}
    if not all(isinstance(name, str) for name in by_number.values()):
        raise ValueError("a number must have one name")
    numbers = tuple(sorted(by_number))
    return GivenNames(tuple(by_number[number] for number in numbers), numbers, where)


def names_of_feature(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel in the words of `datasets`, whose class may be called so or nested
    in a list's; None of another feature."""
    names = feature.get("names") if isinstance(feature, Mapping) else None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None


def names_on_card(root: Place, config: str | None, column: str) -> GivenNames | None:
    """The names of a column's ClassLabel in the head of `README.md`, the card of a data set of the
    hub; None where there is no card, or it does not say them clearly."""
    card = root / "README.md"
    try:
        if not card.is_file():
            return None
        head = card.read_text("utf-8").split("\n---", 1)[0]
        infos = yaml.safe_load(head.removeprefix("---"))["dataset_info"]
        infos = infos if isinstance(infos, list) else [infos]
        found = {
            tuple(name for _, name in sorted((int(key), str(name)) for key, name in names.items()))
            for info in infos
            if config in (None, "", info.get("config_name", config))
            for feature in info["features"]
            if feature["name"] == column
            for names in [feature["dtype"]["class_label"]["names"]]
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return None  # a card is prose: what it does not say clearly, it does not say
    if len(found) != 1:
        return None
    return GivenNames.counted(found.pop(), str(card))
