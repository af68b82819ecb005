"""Which layout a path has, for commands that are given nothing but the path."""

from __future__ import annotations

from pathlib import Path

from craft_ray.config.data import CoopName, CoopSource, CsvSource, FolderSource, ParquetSource
from craft_ray.errors import DataError


def detect_source(
    path: Path, dataset: CoopName | None, image_column: str, label_column: str
) -> CoopSource | CsvSource | FolderSource | ParquetSource:
    """A CSV file, a folder with Parquet files, or a tree of class folders; with `dataset`, the
    root of CoOp's data sets.

    Raises:
        DataError: there is nothing at the path, or a file that is no CSV.
    """
    if dataset is not None:
        return CoopSource(root=str(path), dataset=dataset)
    if path.is_file() and path.suffix.lower() == ".csv":
        return CsvSource(file=str(path))
    if not path.is_dir():
        state = "is another file" if path.exists() else "is missing"
        raise DataError(
            f"{path}: must be a CSV file, a folder with Parquet files or a tree of class folders, "
            f"but {state}"
        )
    if any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return ParquetSource(root=str(path), image_column=image_column, label_column=label_column)
    return FolderSource(root=str(path))
