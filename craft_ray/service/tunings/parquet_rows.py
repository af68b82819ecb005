"""The rows of an uploaded Parquet file, read one at a time: however small a file is, and whatever
it says of its sizes, a value of megabytes can stand in each of its rows (a dictionary has it once).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.data.dataset import LONGEST_CLASS_NAME
from craft_ray.data.parquet_layout import IMAGE_COLUMN, LABEL_COLUMN, declared_classes
from craft_ray.data.sources.table_columns import holds_images
from craft_ray.errors import DataError

NUMBERS_AT_A_TIME = 1000


class ParquetRows:
    """Labels at once, images when they are asked for.

    Args:
        path: of the file.
        most_images: rows that it may have.
        most_bytes: that the two columns may have when they are unpacked, by what the file says.

    Raises:
        DataError: it is no Parquet file, has other columns, or a label breaks a law.
    """

    def __init__(self, path: Path, most_images: int, most_bytes: int) -> None:
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self._check_size(file, most_images, most_bytes)
                schema = file.schema_arrow
                self._is_struct = _check_columns(schema)
                given = _labels_in(file, schema.field(LABEL_COLUMN).type)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"file: must be a readable Parquet file, but: {error}") from error
        except ValueError as error:  # bytes that are no text
            raise DataError(f"column {LABEL_COLUMN}: must be readable, but: {error}") from error
        self._most_bytes = most_bytes
        self.labels, self.class_names = self._named(schema, given)

    def where(self, number: int) -> str:
        """A row for messages, from 0."""
        return f"row {number}, column {IMAGE_COLUMN}"

    def images(self) -> Iterator[bytes]:
        """The content of each row's image file.

        Raises:
            DataError: a row has none, the file is damaged, or they are too large together.
        """
        number, unpacked = 0, 0
        # The leaf alone: the paths of a struct are never looked at.
        leaf = f"{IMAGE_COLUMN}.bytes" if self._is_struct else IMAGE_COLUMN
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=1, columns=[leaf]):
                    column = batch.column(0)
                    values = column.field("bytes") if self._is_struct else column
                    for value in values:
                        encoded = value.as_py()
                        if not isinstance(encoded, bytes):
                            raise DataError(
                                f"{self.where(number)}: must hold the bytes of the image, but is "
                                "null: a path is not followed, as datasets' embed_storage or "
                                "craft-ray data convert puts the files into the rows"
                            )
                        unpacked += len(encoded)
                        if unpacked > self._most_bytes:
                            raise _too_large(self._most_bytes, "more")
                        yield encoded
                        number += 1
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.where(number)}: must be readable, but: {error}") from error

    def _check_size(self, file: pq.ParquetFile, most_images: int, most_bytes: int) -> None:
        metadata = file.metadata
        rows, unpacked = 0, 0
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            rows += row_group.num_rows
            for index in range(row_group.num_columns):
                chunk = row_group.column(index)
                if chunk.path_in_schema.split(".")[0] in (IMAGE_COLUMN, LABEL_COLUMN):
                    unpacked += chunk.total_uncompressed_size
        rows = max(rows, metadata.num_rows)
        if rows > most_images:
            raise DataError(f"file: must have at most {most_images:,} rows, but has {rows:,}")
        if unpacked > most_bytes:
            raise _too_large(most_bytes, f"{unpacked:,}")

    def _named(self, schema: pa.Schema, given: list[Any]) -> tuple[list[int], tuple[str, ...]]:
        if None in given:
            raise DataError(
                f"row {given.index(None)}, column {LABEL_COLUMN}: must have a label, but is null"
            )
        if _is_text(schema.field(LABEL_COLUMN).type):
            names = tuple(sorted(set(given)))
            places = {name: label for label, name in enumerate(names)}
            return [places[name] for name in given], names
        classes = declared_classes(schema, LABEL_COLUMN, Path("file"))
        if classes is None:
            raise DataError(
                f"column {LABEL_COLUMN}: must be texts, or numbers whose names stand in the schema "
                "metadata 'huggingface' (datasets' ClassLabel writes them), but has numbers "
                "without names"
            )
        for row, label in enumerate(given):
            if not 0 <= label < len(classes.names):
                raise DataError(
                    f"row {row}, column {LABEL_COLUMN}: 0 <= label < {len(classes.names)} must "
                    f"hold, but got {label}"
                )
        return given, classes.names


def _labels_in(file: pq.ParquetFile, kind: pa.DataType) -> list[Any]:
    labels: list[Any] = []
    at_a_time = 1 if _is_text(kind) else NUMBERS_AT_A_TIME
    for batch in file.iter_batches(batch_size=at_a_time, columns=[LABEL_COLUMN]):
        labels += batch.column(0).to_pylist()
        if isinstance(labels[-1], str) and len(labels[-1]) > LONGEST_CLASS_NAME:
            raise DataError(
                f"row {len(labels) - 1}, column {LABEL_COLUMN}: must have at most "
                f"{LONGEST_CLASS_NAME} characters, but has {len(labels[-1]):,}"
            )
    return labels


def _too_large(most_bytes: int, what: str) -> DataError:
    return DataError(
        f"file: image and label must have at most {most_bytes:,} bytes when they are unpacked, but "
        f"have {what}"
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_columns(schema: pa.Schema) -> bool:
    """Whether images are structs.

    Raises:
        DataError: a column is missing, is there twice, or of another type.
    """
    for name in (IMAGE_COLUMN, LABEL_COLUMN):
        if schema.names.count(name) != 1:
            raise DataError(
                f"file: must have the columns image and label once, but has {schema.names[:20]}"
            )
    leaf = f"{IMAGE_COLUMN}.bytes"
    if leaf in schema.names:  # whose name is that of the struct's part
        raise DataError(f"file: must have no column {leaf!r}, but has")
    image, label = schema.field(IMAGE_COLUMN).type, schema.field(LABEL_COLUMN).type
    if not holds_images(image) or pa.types.is_list(image) or pa.types.is_large_list(image):
        raise DataError(
            f"column {IMAGE_COLUMN}: must be struct<bytes, path> or binary, but is {image}"
        )
    if not _is_text(label) and not pa.types.is_integer(label):
        raise DataError(f"column {LABEL_COLUMN}: must be whole numbers or texts, but is {label}")
    return bool(pa.types.is_struct(image))
