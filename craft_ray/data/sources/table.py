"""The rows of a table of images: CSV as programs write it, or lines of JSON."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from craft_ray.data.sources.image_names import is_image_name
from craft_ray.errors import DataError

PATH_COLUMNS = ("path", "file_name", "filename", "filepath", "file", "image")
LABEL_COLUMNS = ("label", "class", "class_name", "labels")
SPLIT_COLUMNS = ("split",)
SKIPPED = "-"
"""In place of a label: somebody has looked at the image, and it is to have none."""
DELIMITERS = (",", ";", "\t", "|")

Records = Iterable[tuple[int, Mapping[str, str]]]
"""Of each row its last line, from 1, and its values by column."""


@dataclass(frozen=True)
class Columns:
    """What a user calls them; None: a usual name is looked for."""

    path: str | None = None
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Row:
    """One image of a table. Values are without spaces around them."""

    line: int
    """Its last line, from 1."""
    path: str
    label: str
    """Empty: nobody has labelled the image, or it is skipped."""
    split: str | None
    """None: the table has no such column."""
    is_skipped: bool = False
    """Whether it says `SKIPPED`."""


def read_table(
    file: Path, columns: Columns, delimiter: str | None = None, *, skipped_will_do: bool = False
) -> list[Row]:
    """The rows of a CSV file in UTF-8 or UTF-16, or of a file of JSON objects, one a line.

    Args:
        file: its extension tells the kind.
        columns: their names.
        delimiter: between values of CSV; None: the one that the first line has.
        skipped_will_do: whether a skipped row is enough where none has a label.

    Raises:
        DataError: the file cannot be read, a column or path is missing (with its line), or no row
            has a label.
    """
    with open_table(file, delimiter) as (names, records):
        path = _column(names, columns.path, PATH_COLUMNS, file, "path")
        label = _column(names, columns.label, LABEL_COLUMNS, file, "label")
        split = _split_column(names, columns.split, file)
        rows = []
        for line, record in records:
            needed = [path]
            if (
                _is_json(file) and label in record
            ):  # what is neither text nor a number is empty here
                needed.append(label)
            for column in needed:
                if not record.get(column, "").strip():
                    more = ", and be text or a whole number" * _is_json(file)
                    raise DataError(f"{file} line {line}: {column} must not be empty{more}")
            found = None if split is None else record.get(split, "").strip()
            said = record.get(label, "").strip()
            is_skipped = said == SKIPPED
            known = "" if is_skipped else said
            rows.append(Row(line, record[path].strip(), known, found, is_skipped))
    if not rows:
        raise DataError(f"{file}: must have at least one line after the header")
    if not any(row.label or (row.is_skipped and skipped_will_do) for row in rows):
        is_any_skipped = any(row.is_skipped for row in rows)
        raise DataError(
            f"{file}: at least one image must have a label, but {label} is empty "
            f"{f'or {SKIPPED} ' * is_any_skipped}in all lines ({len(rows):,})"
        )
    return rows


def has_label_column(file: Path) -> bool:
    """Whether a table has a column of labels with a usual name.

    Raises:
        DataError: the file cannot be read.
    """
    with open_table(file) as (names, _):
        return not set(LABEL_COLUMNS).isdisjoint(names)


@contextmanager
def open_table(file: Path, delimiter: str | None = None) -> Iterator[tuple[Sequence[str], Records]]:
    """The names of the columns, and the rows of a file, which are read when their turn comes (JSON
    at once). Each row comes with the number of its last line.

    Raises:
        DataError: also while rows are read: the file is missing, no text, or malformed.
    """
    try:
        with file.open("rb") as stream:
            encoding = _encoding_of(stream.read(2))
        with file.open(encoding=encoding, newline="") as text:
            if _is_json(file):
                records = _records_of_json(text, file)
                yield tuple(dict.fromkeys(key for _, row in records for key in row)), records
            else:
                yield _open_csv(text, file, delimiter)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: must be a CSV file in UTF-8, but: {error}") from error
    except ValueError as error:
        raise DataError(
            f"{file}: must be a CSV file in UTF-8, but: {error}: save it as 'CSV UTF-8'"
        ) from error


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".jsonl"


def _encoding_of(start: bytes) -> str:
    """By the first two bytes. Spreadsheet programs write a byte order mark; without one, a letter
    of UTF-16 has a zero on one side."""
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if start[1:] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if start[:1] == b"\0" else "utf-8-sig"


def _open_csv(text: TextIO, file: Path, delimiter: str | None) -> tuple[Sequence[str], Records]:
    """Columns without a name, which spreadsheets write for empty ones, are passed over."""
    if delimiter is None:
        first = text.readline()
        text.seek(0)
        delimiter = max(DELIMITERS, key=first.count)  # of equal ones the comma
    numbered = _values(text, file, delimiter)
    _, names = next(numbered, (1, []))
    header = [name.strip() for name in names]
    for column in filter(None, header):
        if header.count(column) > 1:
            raise DataError(f"{file} line 1: columns must differ, but {column!r} is there twice")
    return [name for name in header if name], _records_of_csv(numbered, header, file)


def _records_of_csv(
    numbered: Iterable[tuple[int, list[str]]], header: Sequence[str], file: Path
) -> Records:
    for line, values in numbered:
        if not any(map(str.strip, values)):  # spreadsheets write empty cells for empty rows
            continue
        if len(values) != len(header):
            raise DataError(
                f"{file} line {line}: must have {len(header)} values, but has {len(values)}"
            )
        yield line, dict(zip(header, values, strict=True))


def _values(text: TextIO, file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its last line: a quoted value may have line breaks."""
    reader = csv.reader(text, strict=True, delimiter=delimiter, skipinitialspace=True)
    try:
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{file} line {reader.line_num}: {error}") from error


def _records_of_json(text: TextIO, file: Path) -> list[tuple[int, Mapping[str, str]]]:
    records: list[tuple[int, Mapping[str, str]]] = []
    for line, each in enumerate(text, start=1):
        if not each.strip():
            continue
        try:
            record = json.loads(each)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file} line {line}: must be JSON, but: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{file} line {line}: must be an object, but got {each.strip():.60}")
        values = {key: _plain(value) for key, value in record.items() if value is not None}
        records.append((line, values))
    return records


def _plain(value: Any) -> str:
    """Text and whole numbers, also those that pandas writes as 1.0; what else JSON has cannot be a
    path or a label."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    plain = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if plain else ""


def _column(
    names: Sequence[str], given: str | None, usual: Sequence[str], file: Path, what: str
) -> str:
    """The column that is given, else the first of the usual names, else the only other one."""
    if given is not None:
        if given not in names:
            raise DataError(
                f"{file} line 1: must have a column {given!r}, as data.source.{what}_column says, "
                f"but has {list(names)}"
            )
        return given
    present = [name for name in usual if name in names]
    if usual[0] in present or len(present) == 1:
        return present[0]
    remedy = f"name it with data.source.{what}_column"
    if present:
        raise DataError(f"{file} line 1: {' and '.join(present)} may each be the {what}: {remedy}")
    if any(is_image_name(name) for name in names):
        raise DataError(
            f"{file} line 1: must name the columns, but is the line of an image, {list(names)}: "
            "write the line path,label above it, with the same sign between the names"
        )
    raise DataError(
        f"{file} line 1: must have a column {usual[0]!r}, but has {list(names)}: {remedy}"
    )


def _split_column(names: Sequence[str], given: str | None, file: Path) -> str | None:
    if given is not None:
        return _column(names, given, SPLIT_COLUMNS, file, "split")
    return SPLIT_COLUMNS[0] if SPLIT_COLUMNS[0] in names else None
