"""Readers: from the layouts users have on disk to a `Dataset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torchvision.datasets.folder import IMG_EXTENSIONS

from craft_ray.config.run import CoopSource, DataSource, FolderSource, ParquetSource
from craft_ray.data.dataset import SPLITS, Dataset, Item, Split
from craft_ray.errors import DataError
from craft_ray.zoo import EMBEDDED_DATASET


def load_dataset(source: DataSource) -> Dataset:
    """Read the index of a data set; images stay encoded.

    Raises:
        DataError: a folder, file, column or class is missing or inconsistent.
    """
    if isinstance(source, FolderSource):
        return _load_folder(Path(source.root))
    if isinstance(source, ParquetSource):
        return _load_parquet(Path(source.root), name=Path(source.root).name)
    if isinstance(source, CoopSource):
        raise DataError(f"data.source: kind coop must be readable, but {source.dataset} is not yet")
    return _load_parquet(EMBEDDED_DATASET, name="embedded")


def _load_folder(root: Path) -> Dataset:
    for split in SPLITS:
        if not (root / split).is_dir():
            raise DataError(f"{root / split}: must be a folder of class folders, but is missing")
    class_names = _class_folders(root / "train")
    splits = {split: _folder_items(root / split, class_names) for split in SPLITS}
    return Dataset(root.name, class_names, splits)


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))


def _folder_items(folder: Path, class_names: tuple[str, ...]) -> list[Item]:
    unknown = sorted(set(_class_folders(folder)) - set(class_names))
    if unknown:
        raise DataError(f"{folder / unknown[0]}: class must also exist in train, but does not")
    items = []
    for label, class_name in enumerate(class_names):
        class_folder = folder / class_name
        paths = sorted(class_folder.iterdir()) if class_folder.is_dir() else []
        images = [path for path in paths if path.suffix.lower() in IMG_EXTENSIONS]
        if not images and folder.name == "train":
            raise DataError(
                f"{class_folder}: must have at least one image ({', '.join(IMG_EXTENSIONS)}), "
                "but has none"
            )
        items += [Item(path, label, str(path)) for path in images]
    return items


def _load_parquet(root: Path, name: str) -> Dataset:
    class_names: dict[Split, tuple[str, ...]] = {}
    splits: dict[Split, list[Item]] = {}
    for split in SPLITS:
        class_names[split], splits[split] = _read_parquet_split(root / f"{split}.parquet")
        if class_names[split] != class_names["train"]:
            raise DataError(f"{root / f'{split}.parquet'}: class names must equal those of train")
    return Dataset(name, class_names["train"], splits)


def _read_parquet_split(path: Path) -> tuple[tuple[str, ...], list[Item]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: must be a Parquet file, but: {error}") from error
    for column in ("image", "label"):
        if column not in table.column_names:
            raise DataError(f"{path}: must have a column {column!r}, but has {table.column_names}")
    names = _class_names_of(table.schema, path)
    if not pa.types.is_struct(table.schema.field("image").type):
        raise DataError(f"{path}: column image must be struct<bytes, path>")
    label_type = table.schema.field("label").type
    if not pa.types.is_integer(label_type):
        raise DataError(f"{path}: column label must be integers, but is {label_type}")
    images: list[dict[str, Any] | None] = table.column("image").to_pylist()
    labels: list[int | None] = table.column("label").to_pylist()
    items = []
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        encoded = (image or {}).get("bytes")
        if encoded is None or label is None:
            raise DataError(f"{path} row {row}: image bytes and label must not be null")
        items.append(Item(encoded, int(label), f"{path} row {row}"))
    return names, items


def _class_names_of(schema: pa.Schema, path: Path) -> tuple[str, ...]:
    """Class names from the metadata that Hugging Face `datasets` writes."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(metadata or b"")["info"]["features"]
        return tuple(str(name) for name in features["label"]["names"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: schema metadata 'huggingface' must give the names of the label, but does not"
        ) from error
