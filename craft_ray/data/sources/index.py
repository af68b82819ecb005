"""From the rows of a table to a data set."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

from craft_ray.config.data import SeededSplit
from craft_ray.data.dataset import SPLITS, Dataset, Item, Split
from craft_ray.data.packed_items import PackedItems
from craft_ray.data.packed_places import PackedPaths
from craft_ray.data.sources.class_order import in_order
from craft_ray.data.sources.listing import Files, check_files_exist
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.data.sources.table import SKIPPED, Row
from craft_ray.data.split_names import SPLIT_WORDS, split_of
from craft_ray.errors import DataError


@dataclass(frozen=True)
class RowsOf:
    """The rows of one table.

    Attributes:
        file: the table.
        root: what relative paths start from.
        rows: of it, at least one.
    """

    file: Path
    root: Path
    rows: Sequence[Row]


def index_of(name: str, tables: Sequence[RowsOf], settings: SeededSplit) -> Dataset:
    """A data set of all rows; classes are sorted by name, or by number where all labels are
    integers. Without a column of splits they are split by the seed. Rows without a label are left
    out, which a note says.

    Raises:
        DataError: a split is no word for one, or an image does not exist.
    """
    notes = tuple(note for table in tables for note in _left_out(table))
    tables = [replace(table, rows=[row for row in table.rows if row.label]) for table in tables]
    class_names = in_order({row.label for table in tables for row in table.rows})
    labels = {class_name: label for label, class_name in enumerate(class_names)}
    files = Files()
    paths, numbers = PackedPaths(), array("l")
    places: dict[Split, array[int]] = {}
    for table in tables:
        found = PackedPaths(_path_of(row, table, files) for row in table.rows)
        check_files_exist(found, table.file, files)
        for row in table.rows:
            if row.split is not None:
                split = _split_of(row, row.split, table.file)
                places.setdefault(split, array("l")).append(len(numbers))
            numbers.append(labels[row.label])
        paths.extend(found)
    items = PackedItems(paths, None, numbers)
    splits: Mapping[Split, Sequence[Item]] = {
        each: items.chosen(places[each]) for each in SPLITS if each in places
    }
    if not splits:
        splits = split_by_seed(items, class_names, settings)
    return Dataset(name, class_names, splits, notes=notes)


def _left_out(table: RowsOf) -> Iterator[str]:
    skipped = sum(row.is_skipped for row in table.rows)
    if number := sum(not row.label for row in table.rows) - skipped:
        yield f"{table.file}: {number:,} image(s) without a label are left out."
    if skipped:
        yield f"{table.file}: {skipped:,} image(s) whose label is {SKIPPED} are left out."


def found_path(root: Path, path: str, files: Files) -> Path:
    """A path below `root` as written; where only such a file is there, with / for the backslashes
    of Windows, or with accents encoded as macOS does, or as others do."""
    written = root / path
    if ("\\" in path or not path.isascii()) and not files.has(written):
        plain = path.replace("\\", "/")
        others = (root / unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
        return next(filter(files.has, (root / plain, *others)), written)
    return written


def _path_of(row: Row, table: RowsOf, files: Files) -> Path:
    path = found_path(table.root, row.path, files)
    if PureWindowsPath(row.path).drive and not files.has(path):
        raise DataError(
            f"{table.file} line {row.line}: must be a path on this machine, but {row.path!r} is "
            "one of Windows with its drive: write paths from the folder of the table, such as "
            "images/cat/1.jpg, or name their start as data.source.root"
        )
    return path


def _split_of(row: Row, word: str, file: Path) -> Split:
    split = split_of(word)
    if split is None:
        raise DataError(
            f"{file} line {row.line}: split must be one of {', '.join(SPLIT_WORDS)}, but got "
            f"{word!r}"
        )
    return split
