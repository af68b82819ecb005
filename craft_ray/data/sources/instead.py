"""What lies where images or class folders were looked for, so that a message can name it."""

from __future__ import annotations

import os
from pathlib import Path

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
"""Of tables that are read."""

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".gz", ".7z", ".rar")


def way_to_read(file: Path) -> str | None:
    """What a user does with a file that is not read as it is; None where nobody can know."""
    name = file.name.lower()
    if name.endswith(_ARCHIVES):
        return f"{file} is an archive: unpack it, and name the folder with the images"
    if name.endswith(_SPREADSHEETS):
        return f"{file} is a spreadsheet: save it as 'CSV UTF-8', and name that file"
    return None


def instead_in(folder: Path) -> str:
    """The end of a message about a folder that has no images or no labels: a table or an archive in
    it that may have them, with what to do. Empty if there is none. Folders in it are not looked at.
    """
    return table_in(folder) + packed_in(folder)


def table_in(folder: Path) -> str:
    """As `instead_in`, of tables only."""
    suffixes = (*TABLE_SUFFIXES, ".parquet")
    tables = [file for file in _files(folder) if file.name.lower().endswith(suffixes)]
    return f"; if {tables[0]} lists the images, name that table" if tables else ""


def packed_in(folder: Path) -> str:
    """As `instead_in`, of archives and spreadsheets only."""
    ways = [way for file in _files(folder) if (way := way_to_read(file)) is not None]
    return f"; {ways[0]}" if ways else ""


def _files(folder: Path) -> list[Path]:
    """Sorted, without hidden ones; none of a folder that cannot be listed."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".")]
