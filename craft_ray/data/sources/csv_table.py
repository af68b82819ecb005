"""A table of images: a CSV file that names paths, labels and perhaps splits."""

from __future__ import annotations

import os
from pathlib import Path

from craft_ray.config.data import CsvSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources.index import RowsOf, index_of
from craft_ray.data.sources.table import Columns, read_table
from craft_ray.errors import DataError


def load_csv(source: CsvSource) -> Dataset:
    """Read the index of a table, see `read_table` and `index_of`.

    Raises:
        DataError: the table is no CSV in UTF-8 or UTF-16, a column or value is missing or unknown
            (with its line), or image files do not exist.
    """
    file = Path(source.file)
    root = file.parent if source.root is None else Path(source.root)
    if os.path.isdir(file):
        raise DataError(
            f"{file}: must be a CSV file, but is a folder: for images in class folders say "
            f"data.source.kind=folder data.source.root={file}"
        )
    columns = Columns(source.path_column, source.label_column, source.split_column)
    delimiter = "\t" if source.delimiter == "tab" else source.delimiter
    rows = read_table(file, columns, delimiter)
    return index_of(file.stem, [RowsOf(file, root, rows)], source)
