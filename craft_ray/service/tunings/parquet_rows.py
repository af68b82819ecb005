"""The rows of an uploaded Parquet file, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.data.parquet_layout import IMAGE_COLUMN, LABEL_COLUMN, declared_classes
from craft_ray.data.sources.table_columns import holds_images
from craft_ray.errors import DataError

ROWS_AT_A_TIME = 16


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
                values = file.read(columns=[LABEL_COLUMN]).column(0)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"file: must be a readable Parquet file, but: {error}") from error
        self.labels, self.class_names = self._read_labels(schema, values)

    def where(self, number: int) -> str:
        """A row for messages, from 0."""
        return f"row {number}, column {IMAGE_COLUMN}"

    def images(self) -> Iterator[bytes]:
        """The content of each row's image file.

        Raises:
            DataError: a row has none, or the file is damaged.
        """
        number = 0
        # The leaf alone: the paths of a struct are never looked at.
        leaf = f"{IMAGE_COLUMN}.bytes" if self._is_struct else IMAGE_COLUMN
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=[leaf]):
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
                        yield encoded
                        number += 1
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.where(number)}: must be readable, but: {error}") from error

    def _check_size(self, file: pq.ParquetFile, most_images: int, most_bytes: int) -> None:
        metadata = file.metadata
        if metadata.num_rows > most_images:
            raise DataError(
                f"file: must have at most {most_images:,} rows, but has {metadata.num_rows:,}"
            )
        unpacked = 0
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)
            for index in range(row_group.num_columns):
                chunk = row_group.column(index)
                if chunk.path_in_schema.split(".")[0] in (IMAGE_COLUMN, LABEL_COLUMN):
                    unpacked += chunk.total_uncompressed_size
        if unpacked > most_bytes:
            raise DataError(
                f"file: image and label must have at most {most_bytes:,} bytes when they are "
                f"unpacked, but have {unpacked:,}"
            )

    def _read_labels(
        self, schema: pa.Schema, values: pa.ChunkedArray
    ) -> tuple[list[int], tuple[str, ...]]:
        try:
            given = values.to_pylist()
        except ValueError as error:  # bytes that are no text
            raise DataError(f"column {LABEL_COLUMN}: must be readable, but: {error}") from error
        if None in given:
            raise DataError(
                f"row {given.index(None)}, column {LABEL_COLUMN}: must have a label, but is null"
            )
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
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
    image, label = schema.field(IMAGE_COLUMN).type, schema.field(LABEL_COLUMN).type
    if not holds_images(image) or pa.types.is_list(image) or pa.types.is_large_list(image):
        raise DataError(
            f"column {IMAGE_COLUMN}: must be struct<bytes, path> or binary, but is {image}"
        )
    is_text = pa.types.is_string(label) or pa.types.is_large_string(label)
    if not is_text and not pa.types.is_integer(label):
        raise DataError(f"column {LABEL_COLUMN}: must be whole numbers or texts, but is {label}")
    return bool(pa.types.is_struct(image))
