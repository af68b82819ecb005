"""What Parquet and Arrow files have in common: rows with an image and a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from craft_ray.config.data import SeededSplit
from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.parquet_layout import Classes, declared_classes
from craft_ray.data.rows import Encoded
from craft_ray.data.sources.class_files import GivenNames
from craft_ray.data.sources.table_columns import LABEL_NAMES
from craft_ray.data.sources.tabled import Label, Part, dataset_of, plain_labels
from craft_ray.errors import DataError
from craft_ray.files.remote import Place


@dataclass
class Table:
    """What the index needs of one file."""

    split: Split | None
    path: Place
    schema: pa.Schema
    label_column: str | None
    labels: Sequence[Label]
    """None of each image where there is no column of them."""
    names: Sequence[str]
    images: Sequence[Encoded]


def dataset_of_tables(
    name: str,
    tables: Sequence[Table],
    seeded: SeededSplit,
    given: GivenNames | None,
    on_card: Callable[[str], GivenNames | None],
    notes: Iterable[str],
) -> Dataset:
    """The data set whose splits these files are.

    Args:
        name: of the data set.
        tables: its files; not empty.
        seeded: how images without a split are split.
        given: names of the classes from the user.
        on_card: names of the classes of a column, from beside the files.
        notes: what was seen before.

    Raises:
        DataError: as `dataset_of`; or training images have no column of labels.
    """
    column = next((table.label_column for table in tables if table.label_column), None)
    for table in tables:
        if table.label_column is None and (column is None or table.split in (None, "train")):
            raise DataError(
                f"{table.path}: must have a column 'label', but has {table.schema.names}: "
                "data.source.label_column names another one"
            )
        if table.label_column not in (None, column):
            raise DataError(
                f"{table.path}: labels must be in the column {column!r} as in {tables[0].path}, "
                f"but are in {table.label_column!r}: data.source.label_column names the one"
            )
    column = column or LABEL_NAMES[0]
    parts = [_part(table) for table in tables]
    told = list(notes)
    has_words = any(isinstance(label, str) for part in parts for label in part.labels)
    if given is None and not has_words and all(part.declared is None for part in parts):
        given = on_card(column)
        if given is not None:
            told.append(f"{name}: names of the classes are those in {given.where}.")
    remedy = (
        f"{tables[0].path}: schema metadata 'huggingface' must give the names of the {column}, but "
        "does not: say data.source.class_names=[cat,dog] with them, or name a file with one "
        "name a line (data check: --class-names FILE)"
    )
    return dataset_of(name, parts, given, seeded, remedy, told)


def labels_in(column: pa.ChunkedArray | None, names: Sequence[str]) -> list[Label]:
    """The labels of rows with these names, from a column of them, if there is one.

    Raises:
        DataError: see `plain_labels`.
    """
    if column is None:
        return [None] * len(names)
    return plain_labels(column.to_pylist(), names)


def _part(table: Table) -> Part:
    return Part(
        table.split, str(table.path), table.images, table.names, table.labels, _declared(table)
    )


def _declared(table: Table) -> Classes | None:
    if table.label_column is None:
        return None
    if pa.types.is_boolean(table.schema.field(table.label_column).type):
        return Classes(("false", "true"))
    return declared_classes(table.schema, table.label_column, table.path)


def needs_path(images: Any) -> list[int]:
    """Rows of a column of images that have no bytes."""
    if pa.types.is_struct(images.type):
        images = pc.struct_field(images, "bytes")
    if not images.null_count:
        return []
    return [int(row) for row in pc.indices_nonzero(pc.is_null(images)).to_pylist()]


def image_beside(table: Place, image: Any, name: str) -> Path:
    """The file that a row names in place of bytes, as `datasets` does for images on this machine.

    Args:
        table: the file that the row is in; a relative path starts from its folder, or one above.
        image: the struct, without bytes.
        name: of the row, for messages.

    Raises:
        DataError: it names none, or there is none.
    """
    value = image.as_py()
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str) or not path:
        raise DataError(f"{name}: image bytes must not be null, as it names no file instead")
    if not isinstance(table, Path):
        raise DataError(
            f"{name}: image bytes must not be null, but are, and the file {path!r} that it names "
            "is not looked for beside an object store: write the images into the table, as "
            "push_to_hub of `datasets` does"
        )
    for folder in (table.parent, table.parent.parent):
        if (folder / path).is_file():
            return folder / path
    raise DataError(
        f"{name}: image bytes must not be null, but are, and the file {path!r} that it names is "
        f"not there (relative paths start from {table.parent})"
    )
