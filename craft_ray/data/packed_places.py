"""Where the images of an index are, and what messages call them, in a few bytes an image: a list of
a million references would take hundreds of megabytes of each process that reads an index."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from craft_ray.data.lazy_sequence import LazySequence
from craft_ray.data.rows import ArrowRow, Encoded, ParquetRow, TarMember

TEXT = "utf-8", "surrogatepass"
"""Encoding of packed text: gives back every text, also names of files that are no UTF-8."""


class PackedTexts(LazySequence[str]):
    """Texts, as their bytes one after the other."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add one at the end."""
        self._bytes += text.encode(*TEXT)
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def at(self, place: int) -> str:
        return self._bytes[self._ends[place] : self._ends[place + 1]].decode(*TEXT)


class PackedPaths(LazySequence[Path]):
    """Paths of files: each folder once, and the names in them."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._folders: dict[str, int] = {}
        self._folder_of = array("I")
        self._names = PackedTexts()
        self._listed: list[str] = []
        self.extend(paths)

    def extend(self, paths: Iterable[Path]) -> None:
        """Add some at the end."""
        for path in paths:
            self.append(path)

    def append(self, path: Path) -> None:
        """Add one at the end."""
        folder, name = os.path.split(path)
        number = self._folders.setdefault(folder, len(self._folders))
        if number == len(self._listed):
            self._listed.append(folder)
        self._folder_of.append(number)
        self._names.append(name)

    def __len__(self) -> int:
        return len(self._folder_of)

    def at(self, place: int) -> Path:
        return Path(self._listed[self._folder_of[place]], self._names.at(place))


class RowNames(LazySequence[str]):
    """What messages call the rows of a file."""

    def __init__(self, file: str, num_rows: int) -> None:
        self._file = file
        self._num_rows = num_rows

    def __len__(self) -> int:
        return self._num_rows

    def at(self, place: int) -> str:
        return f"{self._file} row {place}"


class ParquetRows(LazySequence[Encoded]):
    """The images of all rows of a Parquet file.

    Args:
        file, column: as of `ParquetRow`.
        starts: the first row of each row group, and the number of rows.
        beside: rows whose image is another file.
    """

    def __init__(
        self, file: str, column: str, starts: Sequence[int], beside: Mapping[int, Path]
    ) -> None:
        self._file, self._column = file, column
        self._starts = starts
        self._beside = beside

    def __len__(self) -> int:
        return self._starts[-1]

    def at(self, place: int) -> Encoded:
        if place in self._beside:
            return self._beside[place]
        group = bisect_right(self._starts, place) - 1
        return ParquetRow(self._file, self._column, group, place - self._starts[group])


class ArrowRows(LazySequence[Encoded]):
    """The images of all rows of an Arrow file.

    Args:
        file, column: as of `ArrowRow`.
        num_rows: of the file.
        beside: rows whose image is another file.
    """

    def __init__(self, file: str, column: str, num_rows: int, beside: Mapping[int, Path]) -> None:
        self._file, self._column = file, column
        self._num_rows = num_rows
        self._beside = beside

    def __len__(self) -> int:
        return self._num_rows

    def at(self, place: int) -> Encoded:
        if place in self._beside:
            return self._beside[place]
        return ArrowRow(self._file, self._column, place)


class TarMembers(LazySequence[Encoded]):
    """Images that lie in a tar file.

    Args:
        file: the tar file.
        places: offset and size of each.
    """

    def __init__(self, file: str, places: Iterable[tuple[int, int]]) -> None:
        self._file = file
        self._offsets, self._sizes = array("Q"), array("Q")
        for offset, size in places:
            self._offsets.append(offset)
            self._sizes.append(size)

    def __len__(self) -> int:
        return len(self._offsets)

    def at(self, place: int) -> Encoded:
        return TarMember(self._file, self._offsets[place], self._sizes[place])
