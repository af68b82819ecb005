"""Labelled images, however they lie: a tree of class folders, a CSV table, or a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from craft_ray.config.suggestions import did_you_mean
from craft_ray.data.dataset import Item
from craft_ray.data.parquet_layout import LABEL_COLUMN, classes_of
from craft_ray.data.rows import open_parquet
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.data.sources.instead import way_to_read
from craft_ray.data.sources.listing import composed
from craft_ray.data.sources.table import LABEL_COLUMNS, open_table
from craft_ray.data.sources.table_columns import label_column
from craft_ray.data.sources.tabled import Label, plain_labels
from craft_ray.errors import DataError
from craft_ray.inference.evaluation import labelled_images, some_of
from craft_ray.inference.images import ImagesAt, check_single, column_of, path_column
from craft_ray.inference.output import columns


def labelled_items(
    place: Path, class_names: Sequence[str], passed_over: PassedOver | None = None
) -> list[Item]:
    """Images with labels in the classifier's order of classes.

    Args:
        place: a tree `<class>/<image>`; a CSV table with a column of paths (see `ImagesAt`) and a
            column `label` (or another of `LABEL_COLUMNS`) of class names; or a Parquet file with
            the same, where labels may also be numbers whose names the file has, as Hugging Face
            writes, and columns may have other names, as in training.
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
    known = {composed(name): label for label, name in enumerate(class_names)}
    for name in dict.fromkeys(names):
        _check(name, known, place)
    labels = [known[composed(name or "")] for name in names]
    return [replace(item, label=label) for item, label in zip(images, labels, strict=True)]


def are_predictions(place: Path) -> bool:
    """Whether it is a table that begins with the columns that `craft-ray predict` writes."""
    if not place.is_file():
        return False
    if place.suffix.lower() == ".parquet":
        with open_parquet(place) as file:
            names: Sequence[str] = file.schema_arrow.names
    else:
        with open_table(place) as (names, _):
            pass
    return list(names)[:3] == columns(top=1)


def _check(name: str | None, known: Mapping[str, int], place: Path) -> None:
    if name is None or composed(name) not in known:
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


def _parquet_labels(table: Path) -> list[str | None]:
    try:
        with open_parquet(table) as file:
            schema = file.schema_arrow
            where = str(table)
            column = label_column(schema, LABEL_COLUMN, where) or _label_column(table, schema.names)
            check_single(table, column, schema)
            values = file.read(columns=[column]).column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table}: must be a Parquet file, but: {error}") from error
    labels = plain_labels(values, [f"{table} row {row}" for row in range(len(values))])
    has_numbers = any(isinstance(label, int) for label in labels)
    names = classes_of(schema, column, table).names if has_numbers else ()
    return [_name_of(label, names) for label in labels]


def _name_of(label: Label, names: Sequence[str]) -> str | None:
    """A number without a name stays one, and is refused as such."""
    if isinstance(label, int):
        return names[label] if 0 <= label < len(names) else str(label)
    return label
