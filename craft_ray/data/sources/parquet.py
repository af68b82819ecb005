"""Parquet files in the Hugging Face layout. Only labels are read for the index."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.config.data import ParquetSource
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.parquet_layout import Classes, classes_of, split_files
from craft_ray.data.rows import ParquetRow, open_parquet
from craft_ray.errors import DataError
from craft_ray.files.remote import Place, locate


def load_parquet(source: ParquetSource, name: str) -> Dataset:
    """Read the index of the splits; an item refers to its row, whose image is read on demand.

    Raises:
        DataError: a file, shard or column is missing, broken or of another type, values are null,
            or the files do not agree on the classes.
    """
    classes: Classes | None = None
    splits: dict[Split, list[Item]] = {}
    for split, paths in split_files(locate(source.root)).items():
        splits[split] = []
        for path in paths:
            found, items = _read_file(path, source)
            if classes is not None and found != classes:
                raise DataError(f"{path}: class names must equal those of the other files")
            classes = found
            splits[split] += items
    assert classes is not None
    return Dataset(name, classes.names, splits, classes.scored, classes.ids)


def _read_file(path: Place, source: ParquetSource) -> tuple[Classes, list[Item]]:
    try:
        with open_parquet(path) as file:
            classes = _check_schema(file.schema_arrow, path, source)
            labels = file.read(columns=[source.label_column]).column(0).to_pylist()
            group_sizes = [
                file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)
            ]
            null_images = _null_images(file, source.image_column)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: must be a Parquet file, but: {error}") from error
    items = []
    start = 0
    for group, size in enumerate(group_sizes):
        for row in range(size):
            label = labels[start + row]
            name = f"{path} row {start + row}"
            if label is None or (group, row) in null_images:
                raise DataError(f"{name}: image bytes and label must not be null")
            reference = ParquetRow(str(path), source.image_column, group, row)
            items.append(Item(reference, label, name))
        start += size
    return classes, items


def _check_schema(schema: pa.Schema, path: Place, source: ParquetSource) -> Classes:
    image_column, label_column = source.image_column, source.label_column
    for column in (image_column, label_column):
        if column not in schema.names:
            raise DataError(f"{path}: must have a column {column!r}, but has {schema.names}")
        if schema.names.count(column) > 1:
            raise DataError(f"{path}: must have a column {column!r} once, but has {schema.names}")
    classes = classes_of(schema, label_column, path)
    image_type = schema.field(image_column).type
    if not _holds_bytes(image_type):
        raise DataError(
            f"{path}: column {image_column} must be struct<bytes, path>, but is {image_type}"
        )
    label_type = schema.field(label_column).type
    if not pa.types.is_integer(label_type):
        raise DataError(f"{path}: column {label_column} must be integers, but is {label_type}")
    return classes


def _holds_bytes(image_type: pa.DataType) -> bool:
    if not pa.types.is_struct(image_type) or image_type.get_field_index("bytes") < 0:
        return False
    content = image_type.field("bytes").type
    return bool(pa.types.is_binary(content) or pa.types.is_large_binary(content))


def _null_images(file: pq.ParquetFile, column: str) -> set[tuple[int, int]]:
    """(row group, row) of images without bytes; only row groups that may have some are read."""
    nulls: set[tuple[int, int]] = set()
    for group in range(file.num_row_groups):
        if _num_nulls(file.metadata.row_group(group), f"{column}.bytes") == 0:
            continue
        table = file.read_row_group(group, columns=[f"{column}.bytes"])
        for row, image in enumerate(table.column(column)):
            if not image.is_valid or not image["bytes"].is_valid:
                nulls.add((group, row))
    return nulls


def _num_nulls(group: Any, leaf: str) -> int | None:
    """Nulls of one leaf of a row group, or None where its writer did not count them."""
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema == leaf:
            statistics = chunk.statistics
            if statistics is not None and statistics.has_null_count:
                num_nulls: int = statistics.null_count
                return num_nulls
    return None
