"""Labels as a table: on the screen, in a CSV file, or in Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.errors import ConfigError
from craft_ray.files.whole_files import written_whole
from craft_ray.inference.out_file import LABEL_KINDS, check_file
from craft_ray.inference.predictor import Batch


class Table(Protocol):
    """Takes rows."""

    def write(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Some more of them."""
        ...


def rows_of(batch: Batch, class_names: Sequence[str], top: int) -> list[list[Any]]:
    """One row an image: its path, then label and probability of the `top` likeliest classes."""
    probabilities_NC = batch.probabilities()
    # Stable: of equal ones the first class, as the highest logit is.
    order_NC = np.argsort(-batch.logits_NC, axis=1, kind="stable")[:, :top]
    return [
        [as_text(item.name)]
        + [cell for c in order_C for cell in (class_names[c], round(float(row_C[c]), 6))]
        for item, row_C, order_C in zip(batch.items, probabilities_NC, order_NC, strict=True)
    ]


def as_text(name: str) -> str:
    """A file name as UTF-8 can hold it: on a disk it may be any bytes, and those that are no text
    are written as `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def columns(top: int) -> list[str]:
    """Names of what `rows_of` gives."""
    ends = ["", *(f"_{rank}" for rank in range(2, top + 1))]
    return ["path", *(f"{name}{end}" for end in ends for name in ("label", "probability"))]


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """Of `columns` in Parquet."""
    return pa.schema([(name, _kind_of(name)) for name in columns])


def _kind_of(name: str) -> pa.DataType:
    return pa.float64() if name.startswith("probability") else pa.string()


def on_screen(screen: IO[str]) -> Table:
    """Lines, separated by tabs."""
    return _Lines(csv.writer(screen, delimiter="\t", lineterminator="\n"))


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """A file of rows, which appears under its name when all of it is there.

    Raises:
        ConfigError: the file cannot be made, or is neither `.csv` nor `.parquet`.
    """
    check_file("--out", path, LABEL_KINDS)
    try:
        with written_whole(path) as partial:
            if path.suffix.lower() == ".csv":
                with partial.open("w", encoding="utf-8", newline="") as file:
                    yield _Lines(csv.writer(file, lineterminator="\n"), with_header=True)
            else:
                with _Parquet(partial) as parquet:
                    yield parquet
    except OSError as error:
        raise ConfigError("--out", [f"{path} cannot be written: {error}"]) from error


class _Lines:
    def __init__(self, writer: Any, *, with_header: bool = False) -> None:
        self._writer = writer
        self._needs_header = with_header

    def write(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if self._needs_header:
            self._writer.writerow(columns)
            self._needs_header = False
        self._writer.writerows(rows)


class _Parquet:
    """A row group for each batch."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        schema = schema_of(columns)
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.write_table(pa.table(dict(zip(columns, values, strict=True)), schema=schema))
