"""How a data set lies in Parquet files: Hugging Face's layout, and what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.decoding import AS_SEEN
from craft_ray.errors import DataError
from craft_ray.files.remote import Place

WRITTEN_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""How the files of a split are called when they are written, as on the hub."""

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
    """As `declared_classes`, where there must be some.

    Raises:
        DataError: there are none, or they are malformed.
    """
    classes = declared_classes(schema, label_column, path)
    if classes is None:
        raise DataError(
            f"{path}: schema metadata 'huggingface' must give the names of the {label_column}, "
            "but does not: datasets' ClassLabel writes them, and so does craft-ray data convert, "
            "from class folders or a CSV table"
        )
    return classes


def declared_classes(schema: pa.Schema, label_column: str, path: Place) -> Classes | None:
    """Class names from the metadata that Hugging Face `datasets` or `schema_of` wrote; None where
    they do not say them.

    Raises:
        DataError: what `schema_of` wrote is malformed.
    """
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    try:
        features = json.loads(metadata.get(HUGGING_FACE_KEY, b""))["info"]["features"]
        names = _words(features[label_column]["names"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
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
