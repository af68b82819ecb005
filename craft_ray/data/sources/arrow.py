"""Folders of `save_to_disk` of Hugging Face `datasets`, and its cache: Arrow files.

The files are mapped into memory: an index reads labels only, and an image is read when it is asked
for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from craft_ray.config.data import ArrowSource
from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.lazy_sequence import Chosen, Joined
from craft_ray.data.packed_places import ArrowRows, RowNames
from craft_ray.data.rows import arrow_table
from craft_ray.data.sources.class_files import GivenNames, given_names, names_in_file
from craft_ray.data.sources.shard_files import shard_paths
from craft_ray.data.sources.shard_names import layout_of
from craft_ray.data.sources.table_columns import image_column, label_column
from craft_ray.data.sources.tables import (
    Table,
    dataset_of_tables,
    image_beside,
    labels_in,
    needs_path,
)
from craft_ray.data.split_names import split_of
from craft_ray.errors import DataError

SUFFIXES = (".arrow",)
INDICES = ("_indices_data_files", "_indices_files")
"""Where a state names the files of rows that were selected; `datasets` before 2.0 wrote them."""
WORKING_FILES = ("cache-", "tmp", "indices")
"""How files begin that `datasets` leaves beside the data: results of `map` and `shuffle`."""
DICT_FILE, STATE_FILE, INFO_FILE = "dataset_dict.json", "state.json", "dataset_info.json"


def load_arrow(source: ArrowSource) -> Dataset:
    """Read the index; an item refers to its row.

    Raises:
        DataError: a file or column is missing, broken or of another type, an image is null, or the
            files do not agree on the classes.
    """
    root = Path(source.root)
    notes: list[str] = []
    tables: list[Table] = []
    if root.is_file():
        tables = [_table(None, root, source)]
    elif (root / DICT_FILE).is_file():
        for split, folder in _splits_of(root, notes).items():
            tables += _saved(split, folder, source)
    elif (root / STATE_FILE).is_file():
        tables = _saved(None, root, source)
    else:
        layout = layout_of(_paths(root), source.config, str(root))
        notes += layout.notes
        tables = [_table(split, root / path, source) for split, path in layout.files]
    given = given_names(source.class_names)
    return dataset_of_tables(
        root.name, tables, source, given, lambda _: _names_beside(tables[0].path), notes
    )


def _paths(root: Path) -> list[str]:
    paths = _data_in(root)
    if not paths:
        raise DataError(
            f"{root}: must be a folder of this machine that save_to_disk of `datasets` wrote, with "
            f"{DICT_FILE} or {STATE_FILE}, but has neither, and no .arrow file"
        )
    return paths


def _data_in(root: Path) -> list[str]:
    """Arrow files below a folder without those that `datasets` works with."""
    return [
        path
        for path in shard_paths(root, SUFFIXES)
        if not path.rpartition("/")[2].startswith(WORKING_FILES)
    ]


def _splits_of(root: Path, notes: list[str]) -> dict[Split, Path]:
    """The folders of the splits, in the order of `SPLITS`.

    Raises:
        DataError: the list of splits cannot be read, or names none that is known, or one twice.
    """
    names = _read_json(root / DICT_FILE).get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{root / DICT_FILE}: must have a list of splits, but has {names!r}")
    found: dict[Split, Path] = {}
    others = []
    for name in names:
        split = split_of(name)
        if split is None:
            others.append(name)
        elif split in found:
            raise DataError(
                f"{root}: split {split} must be there once, but has folders {found[split].name} "
                f"and {name}"
            )
        else:
            found[split] = root / _inside(name, root / DICT_FILE)
    if not found:
        raise DataError(
            f"{root / DICT_FILE}: must name splits such as train, validation and test, but names "
            f"{', '.join(names) or 'none'}: name the folder of one of them, which is split by the "
            "seed"
        )
    if others:
        notes.append(f"{root}: splits of other names are passed over: {', '.join(others)}.")
    return found


def _saved(split: Split | None, folder: Path, source: ArrowSource) -> list[Table]:
    """The tables of one folder with a state; rows in the order of its indices, if it has some."""
    state = _read_json(folder / STATE_FILE)
    files = _files_in(state, "_data_files", folder)
    if not files:
        files = [folder / name for name in _data_in(folder) if "/" not in name]
    if not files:
        raise DataError(f"{folder}: must have files data-*.arrow, but has none")
    tables = [_table(split, path, source) for path in files]
    indices = [path for key in INDICES for path in _files_in(state, key, folder)]
    return [_chosen(tables, indices)] if indices else tables


def _chosen(tables: Sequence[Table], indices: Sequence[Path]) -> Table:
    """One table with the rows that the indices name, in their order."""
    rows: list[int] = [
        row for path in indices for row in _open(path).column(0).to_pylist() if row is not None
    ]
    names = Joined([table.names for table in tables])
    if rows and not 0 <= min(rows) <= max(rows) < len(names):
        raise DataError(
            f"{indices[0]}: rows must be among the {len(names):,} of the data, but {max(rows):,} "
            "is not"
        )
    labels = Joined([table.labels for table in tables])
    images = Joined([table.images for table in tables])
    first = tables[0]
    return Table(
        first.split, first.path, first.schema, first.label_column,
        Chosen(labels, rows), Chosen(names, rows), Chosen(images, rows),
    )  # fmt: skip


def _table(split: Split | None, path: Path, source: ArrowSource) -> Table:
    table = _open(path)
    images = image_column(table.schema, source.image_column, str(path))
    labels = label_column(table.schema, source.label_column, str(path))
    column = table.column(images)
    names = RowNames(str(path), table.num_rows)
    beside = {row: image_beside(path, column[row], names[row]) for row in needs_path(column)}
    rows = ArrowRows(str(path), images, table.num_rows, beside)
    said = labels_in(None if labels is None else table.column(labels), names)
    return Table(split, path, table.schema, labels, said, names, rows)


def _open(path: Path) -> Any:
    try:
        return arrow_table(str(path))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: must be an Arrow file, but: {error}") from error


def _files_in(state: dict[str, Any], key: str, folder: Path) -> list[Path]:
    """Files that a state names; they are in its folder."""
    entries = state.get(key) or []
    try:
        return [folder / _inside(entry["filename"], folder / STATE_FILE) for entry in entries]
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{folder / STATE_FILE}: {key} must be a list of file names, but is {entries!r:.100}"
        ) from error


def _inside(name: str, where: Path) -> str:
    """A name without a folder: what was written on another machine cannot point elsewhere.

    Raises:
        DataError: it has one.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name:
        raise DataError(f"{where}: must name files and folders beside it, but names {name!r}")
    return name


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be JSON that `datasets` wrote, but: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: must be JSON that `datasets` wrote, but is {document!r:.60}")
    return document


def _names_beside(path: Any) -> GivenNames | None:
    """From `dataset_info.json`, where the schema does not say them."""
    info = path.parent / INFO_FILE
    try:
        return names_in_file(info) if info.is_file() else None
    except DataError:
        return None
