"""Which layout a place has, for `kind: auto` and for commands that are given a path only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from craft_ray.config.data import (
    ArrowSource,
    AutoSource,
    CoopName,
    CoopSource,
    CsvSource,
    FolderSource,
    ParquetSource,
    WebdatasetSource,
)
from craft_ray.config.places import is_address
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.data.sources.instead import TABLE_SUFFIXES, way_to_read
from craft_ray.data.sources.recognised import recognised
from craft_ray.errors import DataError

KnownSource = CoopSource | CsvSource | FolderSource | ParquetSource | ArrowSource | WebdatasetSource


def detect_auto(source: AutoSource) -> KnownSource:
    """What a source of `kind: auto` is, with its other settings. What an address of an object
    store names has Parquet files.

    Raises:
        DataError: see `detect_source`; or a setting is given that the found kind does not have.
    """
    place = source.root
    found = ParquetSource(root=place) if is_address(place) else detect_source(Path(place))
    # Not `exclude_unset`: the record of a run has all values, and a resumed run reads that.
    given = source.model_dump(exclude_defaults=True, exclude={"kind", "root"})
    for name in given:
        if name not in type(found).model_fields:
            raise DataError(
                f"data.source.{name}: must not be given for {place}, whose kind is {found.kind}"
            )
    return type(found).model_validate(found.model_dump(exclude_unset=True) | given)


def settings_at(place: str, dataset: CoopName | None = None) -> dict[str, Any]:
    """The settings of `data.source` for a place that a user names, from JSON's values: see
    `detect_source`. What an address of an object store names has Parquet files.

    Raises:
        DataError: there are no images in a layout that is known.
    """
    if dataset is None and is_address(place):
        return {"kind": "parquet", "root": place}
    found = detect_source(Path(os.path.expanduser(place)), dataset)
    return {"kind": found.kind, **found.model_dump(mode="json", exclude_unset=True)}


def detect_source(path: Path, dataset: CoopName | None = None) -> KnownSource:
    """A CSV file; Parquet files, Arrow files or tar shards, in a folder or one; one of CoOp's data
    sets by its file of splits; or a tree of class folders. With `dataset`, the root of CoOp's data
    sets.

    Raises:
        DataError: there is nothing at the path, a file that is no CSV, or CoOp's data sets side by
            side.
    """
    if dataset is not None:
        return CoopSource(root=str(path), dataset=dataset)
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return CsvSource(file=str(path))
    if (kind := recognised(path)) is not None:
        return kind(root=str(path))
    if not path.is_dir():
        state = "is another file" if path.exists() else "is missing"
        way = way_to_read(path) if path.exists() else None
        raise DataError(
            f"{path}: must be a tree of class folders, a table (CSV or .jsonl), or a folder with "
            f"Parquet files, Arrow files or tar shards, but {state}{f': {way}' if way else ''}"
        )
    if found := _coop_sets_in(path.parent, path.name):
        return CoopSource(root=str(path.parent), dataset=found[0])
    if found := _coop_sets_in(path):
        raise DataError(
            f"{path}: must be one data set, but holds CoOp's {', '.join(found)}: say one of them, "
            f"such as {path / COOP_TABLE[found[0]].folder}"
        )
    return FolderSource(root=str(path))


def _coop_sets_in(root: Path, folder: str | None = None) -> list[CoopName]:
    """Data sets of CoOp under a root, or in one folder of it, known by their files of splits."""
    return [
        name
        for name, entry in COOP_TABLE.items()
        if entry.split_file is not None
        and folder in (None, entry.folder)
        and (root / entry.folder / entry.split_file).is_file()
    ]
