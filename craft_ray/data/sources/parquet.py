"""Parquet files in the Hugging Face layout. Only labels are read for the index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.config.data import ParquetSource
from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.packed_places import ParquetRows, RowNames
from craft_ray.data.rows import open_parquet
from craft_ray.data.sources.class_files import given_names, names_on_card
from craft_ray.data.sources.shard_files import shard_paths
from craft_ray.data.sources.shard_names import Layout, layout_of
from craft_ray.data.sources.table_columns import image_column, label_column
from craft_ray.data.sources.tables import (
    Table,
    dataset_of_tables,
    image_beside,
    labels_in,
    needs_path,
)
from craft_ray.errors import DataError
from craft_ray.files.remote import Place, locate

SUFFIXES = (".parquet",)


def load_parquet(source: ParquetSource, name: str) -> Dataset:
    """Read the index of the splits; an item refers to its row, whose image is read on demand.

    Raises:
        DataError: a file, shard or column is missing, broken or of another type, an image is null,
            or the files do not agree on the classes.
    """
    root = locate(source.root)
    folder, layout = _layout(root, source.config)
    tables = [_read_file(split, folder / path, source) for split, path in layout.files]
    given = given_names(source.class_names)
    return dataset_of_tables(
        name, tables, source, given, lambda column: names_on_card(folder, source.config, column),
        layout.notes,
    )  # fmt: skip


def _layout(root: Place, config: str | None) -> tuple[Place, Layout]:
    """The folder, and which of its files are read.

    Raises:
        DataError: there is no Parquet file.
    """
    if root.name.lower().endswith(SUFFIXES) and root.is_file():
        others = [path for path in shard_paths(root.parent, SUFFIXES) if path != root.name]
        notes = tuple(
            f"{root}: this file alone is read, and split by the seed; there are others beside it, "
            f"such as {other}: name the folder to read all."
            for other in others[:1]
        )
        return root.parent, Layout({}, [root.name], notes)
    paths = shard_paths(root, SUFFIXES)
    if not paths:
        raise DataError(
            f"{root}: must have Parquet files, such as train.parquet or "
            "train-00000-of-0000N.parquet, and so for val (or validation) and test, there or in "
            "folders, such as data/, but has none"
        )
    return root, layout_of(paths, config, str(root))


def _read_file(split: Split | None, path: Place, source: ParquetSource) -> Table:
    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            images = image_column(schema, source.image_column, str(path))
            labels = label_column(schema, source.label_column, str(path))
            num_rows = file.metadata.num_rows
            names = RowNames(str(path), num_rows)
            column = None if labels is None else file.read(columns=[labels]).column(0)
            said = labels_in(column, names)
            rows = _rows(file, path, images, names)
            return Table(split, path, schema, labels, said, names, rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: must be a Parquet file, but: {error}") from error


def _rows(file: pq.ParquetFile, path: Place, column: str, names: Sequence[str]) -> ParquetRows:
    """Of each row, where its image is: in the row itself, or the file that it names."""
    kind = file.schema_arrow.field(column).type
    leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    starts = [0, *accumulate(group.num_rows for group in groups)]
    beside: dict[int, Path] = {}
    for number, group in enumerate(groups):
        if pa.types.is_list(kind) or _num_nulls(group, leaf) == 0:
            continue
        images = file.read_row_group(number, columns=[column]).column(column)
        for row in needs_path(images):
            place = starts[number] + row
            beside[place] = image_beside(path, images[row], names[place])
    return ParquetRows(str(path), column, starts, beside)


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
