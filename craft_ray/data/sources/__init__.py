"""Readers: from the layouts users have on disk to a `Dataset`."""

from __future__ import annotations

from craft_ray.config.data import (
    ArrowSource,
    AutoSource,
    CoopSource,
    CsvSource,
    DataSource,
    FolderSource,
    NamesSource,
    ParquetSource,
    SplitSource,
    WebdatasetSource,
)
from craft_ray.data.dataset import Dataset, check_class_names
from craft_ray.data.sources.arrow import load_arrow
from craft_ray.data.sources.class_files import load_names
from craft_ray.data.sources.coop import load_coop
from craft_ray.data.sources.csv_table import load_csv
from craft_ray.data.sources.decoded import decoded_as, decoding_of
from craft_ray.data.sources.detect import detect_auto
from craft_ray.data.sources.folder import load_folder
from craft_ray.data.sources.parquet import load_parquet
from craft_ray.data.sources.split_use import with_splits_used
from craft_ray.data.sources.webdataset import load_webdataset
from craft_ray.errors import DataError
from craft_ray.files.remote import locate
from craft_ray.zoo import EMBEDDED_DATASET


def load_dataset(source: DataSource) -> Dataset:
    """Read the index of a data set; images stay encoded.

    Raises:
        DataError: a folder, file, column, entry or class is missing or inconsistent, or class
            names do not tell the classes apart.
    """
    dataset = read_index(source)
    check_class_names(dataset)
    return dataset


def read_index(source: DataSource) -> Dataset:
    """As `load_dataset`, with class names as they are: `craft_ray.data check` reports them.

    Raises:
        DataError: a folder, file, column, entry or class is missing or inconsistent.
    """
    if isinstance(source, NamesSource):
        return load_names(source)
    try:
        if isinstance(source, AutoSource):
            source = detect_auto(source)
        dataset = _read(source)
    except OSError as error:  # such as a folder on the way that may not be entered
        raise DataError(
            f"data.source {source.kind}: {str(error.filename)[:200]!r} must be readable, but: "
            f"{error.strerror or error}"
        ) from error
    if isinstance(source, SplitSource):
        dataset = with_splits_used(dataset, source.splits)
    return decoded_as(dataset, decoding_of(source, dataset))


def _read(source: DataSource) -> Dataset:
    if isinstance(source, FolderSource):
        return load_folder(source)
    if isinstance(source, CsvSource):
        return load_csv(source)
    if isinstance(source, ParquetSource):
        return load_parquet(source, name=locate(source.root).name)
    if isinstance(source, ArrowSource):
        return load_arrow(source)
    if isinstance(source, WebdatasetSource):
        return load_webdataset(source)
    if isinstance(source, CoopSource):
        return load_coop(source)
    return load_parquet(ParquetSource(root=str(EMBEDDED_DATASET)), name="embedded")
