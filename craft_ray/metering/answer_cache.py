"""Answers of earlier runs, so that a rerun of a finished search costs nothing.

An answer is found by its content: oracle, task, images, contexts, and what was asked of them. Off
unless `answer_cache.folder` is set. The record of queries (`journal`) is another thing: it belongs
to one run and always holds.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from craft_ray.config.run import AnswerCacheConfig

SCHEMA = pa.schema(
    [
        ("question", pa.binary(32)),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("answer", pa.large_binary()),
    ]
)
SUFFIX = ".arrow"

Array = np.ndarray[Any, Any]


class AnswerCache:
    """A folder of Arrow stream files, one for each process that has written; read through memory
    maps, and limited in size.

    What a killed process has written is read up to its last whole answer. When a cache is opened
    over its limit, the files written longest ago go; when the limit is reached while writing,
    nothing more is kept.

    Args:
        folder: is made if it does not exist.
        max_bytes: limit of all files together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._answers: dict[bytes, Array] = {}
        self._bytes_left = max_bytes - _make_room(folder, max_bytes)
        self._writer: Any = None
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            self._answers.update(_read(path))

    def find(self, question: bytes) -> Array | None:
        """The answer to a question, or None."""
        return self._answers.get(question)

    def keep(self, question: bytes, answer: Array) -> None:
        """Remember an answer, unless it is known or there is no room."""
        if question in self._answers or answer.nbytes > self._bytes_left:
            return
        if self._writer is None:
            path = self._folder / f"{uuid.uuid4().hex}{SUFFIX}"
            self._sink = pa.OSFile(str(path), "wb")
            self._writer = pa.ipc.new_stream(self._sink, SCHEMA)
        columns = [[question], [answer.dtype.str], [list(answer.shape)], [answer.tobytes()]]
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self._bytes_left -= answer.nbytes
        self._answers[question] = answer.copy()

    def close(self) -> None:
        """End the file of this process."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None


def open_answer_cache(config: AnswerCacheConfig) -> AnswerCache | None:
    """The cache that `config` asks for, or None."""
    if config.folder is None:
        return None
    return AnswerCache(Path(config.folder), config.max_mb * 2**20)


def _make_room(folder: Path, max_bytes: int) -> int:
    """Remove the oldest files until the rest fits; returns the bytes of the rest."""
    paths = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    sizes = [path.stat().st_size for path in paths]
    total = sum(sizes)
    for path, size in zip(paths, sizes, strict=True):
        if total <= max_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size
    return total


def _read(path: Path) -> Iterator[tuple[bytes, Array]]:
    """Answers of a file, in memory that is mapped and not copied."""
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        for batch in reader:
            for question, dtype, shape, answer in zip(*batch.columns, strict=True):
                array = np.frombuffer(answer.as_buffer(), dtype=np.dtype(dtype.as_py()))
                yield question.as_py(), array.reshape(shape.as_py())
    except (pa.ArrowException, OSError):
        return  # it is being written, or whoever wrote it was killed: the rest is not there
