"""References to images inside files (rows of Parquet and Arrow files, members of tar files), which
are read only when they are needed. A reference names a place, holds nothing open, and so travels to
other processes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from craft_ray.files.remote import Place

ROW_GROUPS_KEPT = 2
"""Items are asked for in their order, or nearly so: one row group, and its successor where threads
run ahead. What a process keeps is bounded by the size of the row groups."""

ARROW_FILES_KEPT = 64
"""They are mapped into memory, not read: what is kept is addresses."""

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
_mapped: OrderedDict[str, Any] = OrderedDict()


class Reference(Protocol):
    """Where an image is."""

    def read(self) -> bytes:
        """The encoded image."""


Encoded = bytes | Path | Reference
"""An image, or where it is."""


@dataclass(frozen=True, slots=True)
class ParquetRow:
    """The image of one row: column `column`, bytes or a struct with a field `bytes`."""

    file: str
    column: str
    row_group: int
    row: int
    """Within the row group."""

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            ValueError: the image is null.
            OSError, pyarrow.ArrowException: the file is gone or broken.
        """
        return _bytes_of(_row_group(self.file, self.column, self.row_group)[self.row])


@dataclass(frozen=True, slots=True)
class ArrowRow:
    """The image of one row of an Arrow file: column `column`, as in `ParquetRow`."""

    file: str
    column: str
    row: int

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            ValueError: the image is null.
            OSError, pyarrow.ArrowException: the file is gone or broken.
        """
        value = arrow_table(self.file).column(self.column)[self.row]
        if hasattr(value.type, "get_field_index") and value.is_valid:
            value = value["bytes"]
        return _bytes_of(value)


@dataclass(frozen=True, slots=True)
class TarMember:
    """The file of `size` bytes that lies at `offset` in a tar file."""

    file: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            ValueError: the tar file ends before.
            OSError: it is gone.
        """
        with open(self.file, "rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        if len(content) < self.size:
            raise ValueError(f"{self.file} ends before it")
        return content


def arrow_table(file: str) -> Any:
    """A file in Arrow's streaming or file format as a `pyarrow.Table` whose buffers are the file's
    own, mapped into memory.

    Raises:
        OSError, pyarrow.ArrowException: it is gone, or no Arrow file.
    """
    import pyarrow as pa

    with _lock:
        if file not in _mapped:
            source = pa.memory_map(file)
            is_file_format = source.read(6) == b"ARROW1"
            source.seek(0)
            opened = (pa.ipc.open_file if is_file_format else pa.ipc.open_stream)(source)
            _mapped[file] = opened.read_all()
            while len(_mapped) > ARROW_FILES_KEPT:
                _mapped.popitem(last=False)
        _mapped.move_to_end(file)
        return _mapped[file]


def _bytes_of(value: Any) -> bytes:
    """Of a scalar of pyarrow: bytes, or a list of numbers from 0 to 255."""
    if not value.is_valid:
        raise ValueError("its bytes are null")
    content = value.as_py()
    return content if isinstance(content, bytes) else bytes(content)


def open_parquet(path: Place) -> Any:
    """A `pyarrow.parquet.ParquetFile`; of one on an object store only what is read is fetched."""
    # Here and not above, as below: items also travel to processes that read no Parquet at all.
    import pyarrow.parquet as pq

    from craft_ray.files.remote import RemotePath, open_store

    if isinstance(path, RemotePath):
        return pq.ParquetFile(path.store_path, filesystem=open_store(path.root))
    return pq.ParquetFile(path)


def _row_group(file: str, column: str, row_group: int) -> Any:
    """The encoded images of a row group: a `pyarrow.ChunkedArray` of bytes."""
    import pyarrow.compute as pc

    from craft_ray.files.remote import locate

    key = (file, column, row_group)
    # Held while reading, so that threads that ask for the same row group read it once.
    with _lock:
        if key not in _kept:
            # Room first: at no time are there more row groups in memory than are kept.
            while len(_kept) >= ROW_GROUPS_KEPT:
                _kept.popitem(last=False)
            with open_parquet(locate(file)) as parquet:
                kind = parquet.schema_arrow.field(column).type
                is_struct = hasattr(kind, "get_field_index")
                wanted = f"{column}.bytes" if is_struct else column
                images = parquet.read_row_group(row_group, columns=[wanted]).column(column)
            _kept[key] = pc.struct_field(images, "bytes") if is_struct else images
        _kept.move_to_end(key)
        return _kept[key]
