"""A table of images: columns `path`, `label` and perhaps `split`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from craft_ray.config.data import CsvSource
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.sources.listing import check_files_exist
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.errors import DataError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str | None


def load_csv(source: CsvSource) -> Dataset:
    """Read the index of a table.

    Classes are sorted by name, or by number where all labels are integers.

    Raises:
        DataError: the table is no CSV in UTF-8, a column or value is missing or unknown (with its
            line), or image files do not exist.
    """
    file = Path(source.file)
    root = file.parent if source.root is None else Path(source.root)
    if os.path.isdir(file):
        raise DataError(
            f"{file}: must be a CSV file, but is a folder: for images in class folders say "
            f"data.source.kind=folder data.source.root={file}"
        )
    rows = _read_rows(file)
    class_names = _classes_of({row.label for row in rows})
    labels = {class_name: label for label, class_name in enumerate(class_names)}
    items = []
    for row in rows:
        path = root / row.path
        items.append(Item(path, labels[row.label], str(path)))
    check_files_exist(items, file)
    if rows[0].split is None:
        return Dataset(file.stem, class_names, split_by_seed(items, class_names, source))
    splits: dict[Split, list[Item]] = {}
    for row, item in zip(rows, items, strict=True):
        if row.split not in SPLIT_NAMES:
            raise DataError(
                f"{file} line {row.line}: split must be one of {', '.join(SPLIT_NAMES)}, but got "
                f"{row.split!r}"
            )
        splits.setdefault(SPLIT_NAMES[row.split], []).append(item)
    return Dataset(file.stem, class_names, splits)


def _classes_of(labels: set[str]) -> tuple[str, ...]:
    # Python refuses to read a number of thousands of digits: it is a word like any other.
    if all(label.removeprefix("-").isdecimal() and len(label) < 20 for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))  # "10" after "9"
    return tuple(sorted(labels))


def _read_rows(file: Path) -> list[_Row]:
    try:
        # utf-8-sig: spreadsheet programs write a byte order mark.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return _parse(_numbered(stream, file), file)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: must be a CSV file in UTF-8, but: {error}") from error


def _numbered(stream: TextIO, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line: a quoted value may have line breaks."""
    reader = csv.reader(stream, strict=True)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{file} line {reader.line_num}: {error}") from error


def _parse(numbered: Iterator[tuple[int, list[str]]], file: Path) -> list[_Row]:
    _, names = next(numbered, (1, []))
    header = [name.strip() for name in names]
    for column in ("path", "label"):
        if column not in header:
            raise DataError(f"{file} line 1: must have a column {column!r}, but has {header}")
    for column in header:
        if header.count(column) > 1:
            raise DataError(f"{file} line 1: columns must differ, but {column!r} is there twice")
    rows = []
    for line, values in numbered:
        if not values:
            continue
        if len(values) != len(header):
            raise DataError(
                f"{file} line {line}: must have {len(header)} values, but has {len(values)}"
            )
        named = dict(zip(header, values, strict=True))
        for column in ("path", "label"):
            if not named[column].strip():
                raise DataError(f"{file} line {line}: {column} must not be empty")
        rows.append(_Row(line, named["path"], named["label"], named.get("split")))
    if not rows:
        raise DataError(f"{file}: must have at least one line after the header")
    return rows
