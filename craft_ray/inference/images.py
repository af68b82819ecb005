"""Which images a user wants labelled."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from craft_ray.data.dataset import Item
from craft_ray.data.sources.listing import IMAGE_EXTENSIONS
from craft_ray.errors import DataError

PATH_COLUMNS = ("image", "path", "file", "filename", "filepath")
NO_LABEL = 0


def images_at(places: Sequence[Path]) -> list[Item]:
    """The images of files, of folders with all that is below them, and of CSV tables, whose column
    `image` (or `path`, `file`, `filename`, `filepath`) has paths relative to the table.

    Nothing is opened but tables: what cannot be read is found when its turn comes.

    Raises:
        DataError: a place is missing, a table has no such column, or there is no image at all.
    """
    items = [Item(path, NO_LABEL, str(path)) for place in places for path in _paths(place)]
    if not items:
        raise DataError(
            f"{', '.join(map(str, places))}: must have an image ({', '.join(IMAGE_EXTENSIONS)}), "
            "but has none"
        )
    return items


def _paths(place: Path) -> Iterable[Path]:
    if place.is_dir():
        return _below(place)
    if not place.is_file():
        raise DataError(f"{place}: must be an image, a folder or a CSV table, but is missing")
    return _of_table(place) if place.suffix.lower() == ".csv" else [place]


def _below(folder: Path) -> Iterator[Path]:
    """Sorted, so that two runs say the same; hidden files and folders are passed over."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith("."):
                yield Path(parent, name)


def _of_table(table: Path) -> Iterator[Path]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            column = next((name for name in PATH_COLUMNS if name in (rows.fieldnames or ())), None)
            if column is None:
                raise DataError(
                    f"{table}: must have a column {' or '.join(PATH_COLUMNS)} with paths, but has "
                    f"{', '.join(rows.fieldnames or ())}"
                )
            for row in rows:
                if row[column]:
                    yield table.parent / row[column]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{table}: must be a CSV table in UTF-8, but: {error}") from error
