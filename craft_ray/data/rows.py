"""References to rows of Parquet files, whose images are read only when they are needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from craft_ray.files.remote import Place

ROW_GROUPS_KEPT = 2
"""Items are asked for in their order, or nearly so: one row group, and its successor where threads
run ahead. What a process keeps is bounded by the size of the row groups."""

_lock = threading.Lock()
_kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()


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
        content = _row_group(self.file, self.column, self.row_group)[self.row].as_py()
        if content is None:
            raise ValueError("its bytes are null")
        encoded: bytes = content
        return encoded


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
                is_struct = parquet.schema_arrow.field(column).type.num_fields > 0
                wanted = f"{column}.bytes" if is_struct else column
                images = parquet.read_row_group(row_group, columns=[wanted]).column(column)
            _kept[key] = pc.struct_field(images, "bytes") if is_struct else images
        _kept.move_to_end(key)
        return _kept[key]
