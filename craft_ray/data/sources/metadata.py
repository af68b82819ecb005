"""Hugging Face's imagefolder: a folder with a table `metadata.csv` or `metadata.jsonl`, or with
one in the folder of each split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from craft_ray.config.data import FolderSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources.index import RowsOf, index_of
from craft_ray.data.sources.listing import class_folders
from craft_ray.data.sources.table import Columns, Row, has_label_column, read_table
from craft_ray.data.split_names import split_of

METADATA_FILES = ("metadata.csv", "metadata.jsonl")


def metadata_files(root: Path) -> list[Path]:
    """The tables of a folder: its own, else those of its folders of splits. At most one of a
    folder.

    Raises:
        DataError: a folder cannot be listed.
    """
    folders = [root, *(root / name for name in class_folders(root) if split_of(name) is not None)]
    found = [file for folder in folders if (file := _table_in(folder)) is not None]
    return found[:1] if found and found[0].parent == root else found


def load_metadata(root: Path, source: FolderSource) -> Dataset | None:
    """Read the index of the tables; None if they have no labels (captions, boxes) and there are
    class folders, which have them.

    A table in a folder of a split is of that split. Of one in `root`, splits are in a column
    `split`, or are the first folder of each path (`train/1.jpg`), or are drawn by the seed.

    Raises:
        DataError: a table cannot be read, has no labels, or names images that do not exist.
    """
    files = metadata_files(root)
    if (
        source.label_column is None
        and not any(map(has_label_column, files))
        and any(name for file in files for name in class_folders(file.parent))
    ):
        return None
    tables = []
    for file in files:
        rows = read_table(file, Columns(label=source.label_column))
        tables.append(RowsOf(file, file.parent, _with_splits(rows, file, root)))
    return index_of(root.name, tables, source)


def _table_in(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA_FILES if (folder / name).is_file()), None)


def _with_splits(rows: list[Row], file: Path, root: Path) -> list[Row]:
    if file.parent != root:
        return [replace(row, split=file.parent.name) for row in rows]
    if rows[0].split is None:
        firsts = [row.path.replace("\\", "/").partition("/")[0] for row in rows]
        if all(split_of(first) is not None for first in firsts):
            return [replace(row, split=word) for row, word in zip(rows, firsts, strict=True)]
    return rows
