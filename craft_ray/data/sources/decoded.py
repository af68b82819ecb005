"""How the images of a data set are decoded: as viewers show them, or as they are stored."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from craft_ray.config.data import CoopSource, DataSource, EmbeddedSource, Photographs
from craft_ray.data.dataset import Dataset
from craft_ray.data.decoding import AS_SEEN, AS_STORED, Decoding
from craft_ray.data.packed_items import all_decoded_as
from craft_ray.data.parquet_layout import DECODING_KEY
from craft_ray.data.rows import ParquetRow, open_parquet
from craft_ray.errors import DataError
from craft_ray.files.remote import locate


def decoding_of(source: DataSource, dataset: Dataset) -> Decoding:
    """What the settings say; where they say nothing, what the files say; else as viewers do, but of
    the embedded data set and CoOp's as it always was.

    Raises:
        DataError: what the files say is malformed.
    """
    usual = AS_STORED if isinstance(source, EmbeddedSource | CoopSource) else _written_in(dataset)
    if not isinstance(source, Photographs):
        return usual
    orientation, background = source.exif_orientation, source.background
    return Decoding(
        usual.exif_orientation if orientation is None else orientation,
        usual.background if background is None else background,
    )


def decoded_as(dataset: Dataset, decoding: Decoding) -> Dataset:
    """The same images, decoded in this way."""
    if decoding == dataset.decoding:  # a list of millions need not be copied
        return dataset
    splits = {split: all_decoded_as(items, decoding) for split, items in dataset.splits.items()}
    return replace(dataset, splits=splits)


def _written_in(dataset: Dataset) -> Decoding:
    """By `craft-ray data convert`, into each of its files."""
    first = next(iter(dataset.splits.values()))[0].encoded
    if not isinstance(first, ParquetRow):
        return AS_SEEN
    with open_parquet(locate(first.file)) as file:
        written = (file.schema_arrow.metadata or {}).get(DECODING_KEY)
    if written is None:
        return AS_SEEN
    try:
        return TypeAdapter(Decoding).validate_python(json.loads(written))
    except (ValueError, ValidationError) as error:
        raise DataError(
            f"{first.file}: schema metadata {DECODING_KEY.decode()!r} must be as it was written"
        ) from error
