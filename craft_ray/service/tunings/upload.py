"""What a user uploads becomes one Parquet file in the Hugging Face layout, or is refused.

Nothing of the file is followed or run: a row holds the bytes of its image, or the file is refused.
What is kept was written here, so that whoever reads it later reads no more than two columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.config.service import BoundsConfig, TuningServiceConfig
from craft_ray.data.dataset import Dataset, Item, check_class_names
from craft_ray.data.decoding import AS_SEEN, in_rgb, opened
from craft_ray.data.parquet_layout import IMAGE_COLUMN, LABEL_COLUMN, schema_of
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError
from craft_ray.files.whole_files import written_whole
from craft_ray.service.tunings.jsonl import JsonlRows
from craft_ray.service.tunings.parquet_rows import ParquetRows

MOST_CLASSES = 1_000
ROWS_PER_GROUP = 100
MB = 1_000_000
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class UploadBounds:
    """What a file may hold; in bytes, pixels and images."""

    file_bytes: int
    """Also when its columns are unpacked."""
    image_bytes: int
    image_pixels: int
    images: int

    @classmethod
    def of(cls, tuning: TuningServiceConfig, bounds: BoundsConfig) -> UploadBounds:
        """From the settings of a service."""
        return cls(
            file_bytes=tuning.file_mb * MB,
            image_bytes=bounds.image_mb * MB,
            image_pixels=bounds.image_megapixels * MB,
            images=tuning.images_per_file,
        )


@dataclass(frozen=True)
class Facts:
    """What is known of a file that was taken."""

    class_names: tuple[str, ...]
    images_per_class: tuple[int, ...]
    """In the order of the names."""

    @property
    def num_images(self) -> int:
        """Of all classes."""
        return sum(self.images_per_class)

    @property
    def smallest_class(self) -> int:
        """Images of the smallest class that has any."""
        return min(number for number in self.images_per_class if number)

    def as_dict(self) -> dict[str, Any]:
        """For the records."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Facts:
        """Inverse of `as_dict`, also from JSON."""
        return cls(tuple(document["class_names"]), tuple(document["images_per_class"]))


def take_upload(path: Path, destination: Path, bounds: UploadBounds) -> Facts:
    """Check every row of an uploaded file, and write what is kept.

    Args:
        path: of what was uploaded.
        destination: a Parquet file, which appears when it is whole.
        bounds: that the file keeps to.

    Raises:
        DataError: names the row or line, the column, the law and the value.
    """
    rows = _rows_of(path, bounds)
    if not rows.labels:
        raise DataError("file: must have at least one row, but has none")
    names = rows.class_names
    if len(names) > MOST_CLASSES:
        raise DataError(
            f"label: must have at most {MOST_CLASSES:,} classes, but the file has {len(names):,}"
        )
    check_class_names(_dataset(names))
    counts = Counter(rows.labels)
    if len(counts) < 2:
        raise DataError("label: at least 2 classes must have images, but one has")
    with written_whole(destination) as temporary:
        _write(temporary, names, rows.labels, _checked(rows.images(), rows, bounds))
    return Facts(names, tuple(counts[label] for label in range(len(names))))


def check_image(encoded: bytes, where: str, bounds: UploadBounds) -> None:
    """Decode an image whose file and size are within the bounds.

    Args:
        encoded: the content of its file.
        where: it is, for messages.
        bounds: that it keeps to.

    Raises:
        DataError: it is too large, or no image.
    """
    if len(encoded) > bounds.image_bytes:
        raise DataError(
            f"{where}: must have at most {bounds.image_bytes:,} bytes, but has {len(encoded):,}"
        )
    too_large = None
    with opened(encoded, where) as image:
        if image.width * image.height > bounds.image_pixels:
            too_large = f"{image.width} x {image.height}"
        else:
            in_rgb(image, AS_SEEN)
    if too_large is not None:
        raise DataError(
            f"{where}: must have at most {bounds.image_pixels:,} pixels, but has {too_large}"
        )


def _rows_of(path: Path, bounds: UploadBounds) -> ParquetRows | JsonlRows:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(PARQUET_MAGIC):
        return ParquetRows(path, bounds.images, bounds.file_bytes)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return JsonlRows(path, bounds.images, bounds.image_bytes)
    raise DataError(
        "file: must be a Parquet file with the columns image and label, as datasets' to_parquet "
        'writes it, or lines of {"image": "data:image/png;base64,...", "label": "cat"}, but is '
        f"neither: it begins with {head[:16]!r}"
    )


def _checked(
    images: Iterator[bytes], rows: ParquetRows | JsonlRows, bounds: UploadBounds
) -> Iterator[bytes]:
    def check(numbered: tuple[int, bytes]) -> bytes:
        number, encoded = numbered
        check_image(encoded, rows.where(number), bounds)
        return encoded

    return map_in_threads(check, enumerate(images))


def _write(
    path: Path, names: Sequence[str], labels: Sequence[int], images: Iterator[bytes]
) -> None:
    schema = schema_of(_dataset(names))
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, len(labels), ROWS_PER_GROUP):
            part = labels[start : start + ROWS_PER_GROUP]
            encoded = list(islice(images, len(part)))
            if len(encoded) < len(part):
                raise DataError(
                    f"file: must have an image for each of its {len(labels):,} labels, but has "
                    f"{start + len(encoded):,}"
                )
            columns: dict[str, list[Any]] = {
                IMAGE_COLUMN: [{"bytes": each, "path": None} for each in encoded],
                LABEL_COLUMN: list(part),
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROWS_PER_GROUP)


def _dataset(names: Sequence[str]) -> Dataset:
    """Whose schema is that of the file."""
    return Dataset("file", tuple(names), {"train": [Item(b"", 0, "")]})


def renumbered(path: Path, destination: Path, names: Sequence[str]) -> None:
    """Write the same images with labels in the order of other names, as of a training file.

    Args:
        path: a file that was taken here.
        destination: a Parquet file.
        names: all classes of the file are among these.

    Raises:
        DataError: a class is not.
    """
    with pq.ParquetFile(path) as file:
        stored = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        own = stored[LABEL_COLUMN]["names"]
        if strangers := sorted(set(own) - set(names)):
            raise DataError(
                f"validation_file: its classes must be those of training_file, but {strangers[0]!r}"
                " is not one of them"
            )
        place = [list(names).index(name) for name in own]
        schema = schema_of(_dataset(names))
        with pq.ParquetWriter(
            destination, schema, compression="none", use_dictionary=False
        ) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                labels = [place[label] for label in table.column(LABEL_COLUMN).to_pylist()]
                columns = [table.column(IMAGE_COLUMN), pa.array(labels, pa.int64())]
                writer.write_table(pa.table(columns, schema=schema))
