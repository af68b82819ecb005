"""Which images a user wants labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from craft_ray.data.dataset import Item
from craft_ray.data.parquet_layout import IMAGE_COLUMN
from craft_ray.data.rows import ParquetRow, open_parquet
from craft_ray.data.sources.image_names import PassedOver, image_extensions, is_image_name
from craft_ray.data.sources.index import found_path
from craft_ray.data.sources.instead import TABLE_SUFFIXES, instead_in, way_to_read
from craft_ray.data.sources.listing import Files, walk
from craft_ray.data.sources.table import PATH_COLUMNS, open_table
from craft_ray.data.sources.table_columns import holds_images, image_column
from craft_ray.errors import DataError

NO_LABEL = 0
ROWS_AT_A_TIME = 1024


class ImagesAt:
    """Images of several places, listed anew at each pass: there may be millions, and no list of
    them is kept.

    Args:
        places: files, folders with all that is below them, CSV tables, and Parquet files. Of a
            table the column `path` (or another of `PATH_COLUMNS`) has paths relative to the table;
            in Parquet `image` goes first, and may have images themselves, as may a column of
            another name: bytes, or struct<bytes, path> as `craft-ray data convert` and Hugging
            Face write them.

    Nothing is opened but tables: what cannot be read is found when its turn comes.

    Raises:
        DataError: a place is missing, a table has no such column, or there is no image at all.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = tuple(places)
        passed_over = PassedOver()
        self._number = sum(_number_at(place, passed_over) for place in self._places)
        self.notes = passed_over.notes()
        """Of images in folders that are not read: none or a sentence."""
        if not self._number:
            raise DataError(
                f"{', '.join(map(str, places))}: must have an image "
                f"({', '.join(image_extensions())}), but has none"
                f"{''.join(f' ({note})' for note in self.notes)}"
                f"{''.join(map(instead_in, places))}"
            )

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Item]:
        for place in self._places:
            if _is_parquet(place):
                yield from _of_parquet(place)
            else:
                yield from (Item(path, NO_LABEL, str(path)) for path in _paths(place))


def _number_at(place: Path, passed_over: PassedOver) -> int:
    if _is_parquet(place):
        return _number_of_rows(place)
    return sum(1 for _ in _paths(place, passed_over))


def _is_parquet(place: Path) -> bool:
    return place.suffix.lower() == ".parquet" and place.is_file()


def _paths(place: Path, passed_over: PassedOver | None = None) -> Iterator[Path]:
    if place.is_dir():
        yield from _below(place, passed_over)
    elif not place.is_file():
        raise DataError(f"{place}: must be an image, a folder or a table, but is missing")
    elif place.suffix.lower() in TABLE_SUFFIXES:
        yield from _of_table(place)
    elif (way := way_to_read(place)) is not None:
        raise DataError(f"{place}: must be an image, a folder or a table, but {way}")
    else:
        yield place


def _below(folder: Path, passed_over: PassedOver | None = None) -> Iterator[Path]:
    """Sorted, so that two runs say the same; hidden files and folders are passed over."""
    for parent, entries in walk(folder):
        for entry in entries:
            if is_image_name(entry.name):
                yield parent / entry.name
            elif passed_over is not None:
                passed_over.look_at(entry.path)


def _of_table(table: Path) -> Iterator[Path]:
    files = Files()
    with open_table(table) as (names, records):
        column = path_column(table, names)
        for _, record in records:
            if path := record.get(column, "").strip():
                yield found_path(table.parent, path, files)


def column_of(table: Path, names: Sequence[str], known: Sequence[str], what: str) -> str:
    """The first of some columns that a table has.

    Args:
        table: for the message.
        names: of its columns.
        known: columns that are looked for, in this order.
        what: is in them, in words.

    Raises:
        DataError: it has none of them.
    """
    column = next((name for name in known if name in names), None)
    if column is None:
        raise DataError(
            f"{table}: must have a column {' or '.join(known)} with {what}, but has "
            f"{', '.join(names)}"
        )
    return column


def path_column(table: Path, names: Sequence[str]) -> str:
    """The column of a table that has its images.

    Raises:
        DataError: there is none.
    """
    return column_of(table, names, PATH_COLUMNS, "paths")


def _number_of_rows(table: Path) -> int:
    try:
        with open_parquet(table) as file:
            _parquet_column(table, file.schema_arrow)
            number: int = file.metadata.num_rows
            return number
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table}: must be a Parquet file, but: {error}") from error


def _parquet_column(table: Path, schema: pa.Schema) -> tuple[str, bool]:
    """The column of images, and whether it has the images themselves."""
    known = (IMAGE_COLUMN, *PATH_COLUMNS)
    if set(known).isdisjoint(schema.names) and any(holds_images(each.type) for each in schema):
        return image_column(schema, IMAGE_COLUMN, str(table)), True
    column = column_of(table, schema.names, known, "paths")
    check_single(table, column, schema)
    kind = schema.field(column).type
    if holds_images(kind):
        return column, True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column, False
    raise DataError(
        f"{table}: column {column} must be paths (string) or images (binary or struct<bytes, "
        f"path>), but is {kind}"
    )


def check_single(table: Path, column: str, schema: pa.Schema) -> None:
    """Refuse a file that has a column twice.

    Raises:
        DataError: it has.
    """
    if (number := schema.names.count(column)) > 1:
        raise DataError(f"{table}: must have one column {column}, but has {number}")


def _of_parquet(table: Path) -> Iterator[Item]:
    try:
        with open_parquet(table) as file:
            column, has_images = _parquet_column(table, file.schema_arrow)
            if has_images:
                yield from _rows_of(table, column, file)
                return
            for batch in file.iter_batches(ROWS_AT_A_TIME, columns=[column]):
                for path in batch.column(0).to_pylist():
                    name = str(table.parent / (path or ""))
                    yield Item(Path(name), NO_LABEL, name)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{table}: must be a Parquet file, but: {error}") from error


def _rows_of(table: Path, column: str, file: Any) -> Iterator[Item]:
    """Items that read their row when their turn comes; row groups are kept by `data.rows`."""
    metadata = file.metadata
    number = 0
    for group in range(metadata.num_row_groups):
        for row in range(metadata.row_group(group).num_rows):
            reference = ParquetRow(str(table), column, group, row)
            yield Item(reference, NO_LABEL, f"{table} row {number}")
            number += 1
