"""How a data set lies in Parquet files: Hugging Face's layout, and what it cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.decoding import AS_SEEN
from craft_ray.errors import DataError, StorageError
from craft_ray.files.remote import Place, entries

SPLIT_KEYS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation"),
    "test": ("test",),
}
"""How the files of a split are called; the last name is the one that is written."""

IMAGE_COLUMN = "image"
LABEL_COLUMN = "label"

HUGGING_FACE_KEY = b"huggingface"
OWN_KEY = b"craft_ray"
DECODING_KEY = b"craft_ray_decoding"
"""Where images are to be decoded otherwise than by default, as CoOp's are."""


@dataclass(frozen=True)
class Classes:
    """What a schema says of the classes; see `Dataset`."""

    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    scored: tuple[int, ...] | None = None


def split_files(root: Place) -> dict[Split, list[Place]]:
    """The files of each split that there is, in `root` or else in `root/data`.

    Raises:
        DataError: there are none, shards are missing, a split is there twice, or an object store
            does not answer.
    """
    for folder in (root, root / "data"):
        try:
            names = sorted(path.name for path in entries(folder) if path.name.endswith(".parquet"))
        except StorageError as error:
            raise DataError(f"data.source.root: must be readable, but: {error}") from error
        found = {
            split: files
            for split, keys in SPLIT_KEYS.items()
            if (files := [folder / name for name in _files_of(folder, names, keys)])
        }
        if found:
            return found
    raise DataError(
        f"{root}: must have Parquet files train.parquet or train-00000-of-0000N.parquet, and so "
        "for val (or validation) and test, there or in data/, but has none"
    )


def _files_of(folder: Place, names: list[str], keys: tuple[str, ...]) -> list[str]:
    """Names of the files of one split."""
    # `datasets` before 2.15 put a hash behind the number of shards.
    pattern = re.compile(
        rf"(?:{'|'.join(keys)})(?:-(\d{{5}})-of-(\d{{5}})(?:-[0-9a-f]+)?)?\.parquet"
    )
    matches = [match for name in names if (match := pattern.fullmatch(name))]
    if len(matches) <= 1 and not any(match[1] for match in matches):
        return [match[0] for match in matches]
    totals = {match[2] for match in matches}
    numbers = [int(match[1]) if match[1] else -1 for match in matches]
    if len(totals) > 1 or len(set(numbers)) < len(numbers):
        shown = ", ".join(match[0] for match in matches[:4])
        raise DataError(f"{folder}: split {keys[0]} must be there once, but has files {shown}")
    total = int(matches[0][2])
    missing = sorted(set(range(total)) - set(numbers))
    if missing or max(numbers) >= total:
        wrong = f"{missing[0]:05d} is missing" if missing else f"{max(numbers):05d} is there too"
        raise DataError(
            f"{folder}: split {keys[0]} must have all of its {total} shards, but {wrong}"
        )
    return [match[0] for match in matches]


def schema_of(dataset: Dataset) -> pa.Schema:
    """Columns `image`, struct<bytes, path>, and `label`, with class names as `datasets` reads them.

    `datasets` wants unique names, and knows neither class ids nor scored classes: where a data set
    has these, our own names are beside the others.
    """
    names = dataset.class_names
    own: dict[str, Any] = {}
    if dataset.class_ids is not None:
        own["class_names"], own["class_ids"] = list(names), list(dataset.class_ids)
        names = tuple(
            f"{name} ({identity})" if names.count(name) > 1 else name
            for name, identity in zip(names, dataset.class_ids, strict=True)
        )
    if dataset.scored_classes is not None:
        own["class_names"] = list(dataset.class_names)
        own["scored_classes"] = list(dataset.scored_classes)
    features = {
        IMAGE_COLUMN: {"_type": "Image"},
        LABEL_COLUMN: {"names": list(names), "_type": "ClassLabel"},
    }
    metadata = {HUGGING_FACE_KEY: json.dumps({"info": {"features": features}}).encode()}
    if own:
        metadata[OWN_KEY] = json.dumps(own).encode()
    if dataset.decoding != AS_SEEN:
        metadata[DECODING_KEY] = json.dumps(asdict(dataset.decoding)).encode()
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.schema({IMAGE_COLUMN: image, LABEL_COLUMN: pa.int64()}, metadata=metadata)


def classes_of(schema: pa.Schema, label_column: str, path: Place) -> Classes:
    """Class names from the metadata that Hugging Face `datasets` or `schema_of` wrote.

    Raises:
        DataError: there are none, or they are malformed.
    """
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    try:
        features = json.loads(metadata.get(HUGGING_FACE_KEY, b""))["info"]["features"]
        names = _words(features[label_column]["names"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: schema metadata 'huggingface' must give the names of the {label_column}, "
            "but does not: datasets' ClassLabel writes them, and so does craft-ray data convert, "
            "from class folders or a CSV table"
        ) from error
    if OWN_KEY not in metadata:
        return Classes(names)
    try:
        own = json.loads(metadata[OWN_KEY])
        ids, scored = own.get("class_ids"), own.get("scored_classes")
        return Classes(
            _words(own["class_names"]),
            None if ids is None else _words(ids),
            None if scored is None else tuple(int(label) for label in scored),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: schema metadata 'craft_ray' must be as it was written") from error


def _words(value: Any) -> tuple[str, ...]:
    """A list of words; a single word would pass for the list of its letters."""
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise TypeError("must be a list of words")
    return tuple(value)
