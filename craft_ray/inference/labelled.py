"""Labelled images, however they lie: a tree of class folders, a CSV table, or a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.dataset import Item
from craft_ray.data.parquet_layout import classes_of
from craft_ray.data.rows import open_parquet
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.data.sources.instead import way_to_read
from craft_ray.data.sources.table import open_table
from craft_ray.errors import DataError
from craft_ray.inference.evaluation import labelled_images, some_of
from craft_ray.inference.images import ImagesAt, check_single, column_of, path_column

LABEL_COLUMNS = ("label", "class", "class_name")


def labelled_items(
    place: Path, class_names: Sequence[str], passed_over: PassedOver | None = None
) -> list[Item]:
    """Images with labels in the classifier's order of classes.

    Args:
        place: a tree `<class>/<image>`; a CSV table with a column of paths (see `ImagesAt`) and a
            column `label` (or `class`, `class_name`) of class names; or a Parquet file with the
            same, where labels may also be numbers whose names the file has, as Hugging Face writes.
        class_names: of the classifier.
        passed_over: counts the images in class folders that are not read.

    Raises:
        DataError: a label is no class of the classifier, a column is missing, or there is no image.
    """
    if not place.is_file():
        return labelled_images(place, class_names, passed_over)
    if (way := way_to_read(place)) is not None:
        raise DataError(f"{place}: must be class folders or a table, but {way}")
    is_parquet = place.suffix.lower() == ".parquet"
    names = _parquet_labels(place) if is_parquet else _table_labels(place)
    images = list(ImagesAt([place]))
    known = {name: label for label, name in enumerate(class_names)}
    for name in dict.fromkeys(names):
        _check(name, known, place)
    return [
        replace(item, label=known[name or ""]) for item, name in zip(images, names, strict=True)
    ]


def _check(name: str | None, known: Mapping[str, int], place: Path) -> None:
    if name is None or name not in known:
        raise DataError(
            f"{place}: each label must be a class of the run ({some_of(list(known))}), but got "
            f"{name!r}{did_you_mean(name or '', known)}"
        )


def _label_column(table: Path, names: Sequence[str]) -> str:
    return column_of(table, names, LABEL_COLUMNS, "class names")


def _table_labels(table: Path) -> list[str | None]:
    """Of the rows that have a path."""
    with open_table(table) as (names, records):
        label, path = _label_column(table, names), path_column(table, names)
        return [
            record.get(label, "").strip() for _, record in records if record.get(path, "").strip()
        ]


def _check_labels(table: Path, column: str, schema: pa.Schema) -> None:
    check_single(table, column, schema)
    kind = schema.field(column).type
    if pa.types.is_nested(kind):
        raise DataError(
            f"{table}: column {column} must be class names or their numbers, but is {kind}"
        )


def _parquet_labels(table: Path) -> list[str | None]:
    try:
        with open_parquet(table) as file:
            schema = file.schema_arrow
            column = _label_column(table, schema.names)
            _check_labels(table, column, schema)
            labels: list[Any] = file.read(columns=[column]).column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table}: must be a Parquet file, but: {error}") from error
    if not pa.types.is_integer(schema.field(column).type):
        return list(labels)
    names = classes_of(schema, column, table).names
    in_range = range(len(names))
    return [names[label] if label in in_range else str(label) for label in labels]
