"""Answers that others were given, so that they are not paid for again: those of earlier runs, if
`answer_cache.folder` is set, and those of the other trials of a search.

An answer is found by its content: oracle, task, images, contexts, and what was asked of them. The
record of queries (`journal`) is another thing: it belongs to one run and always holds.
"""

from __future__ import annotations

import logging
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from craft_ray.config.sections import AnswerCacheConfig
from craft_ray.errors import ConfigError

logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("question", pa.binary(32)),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("answer", pa.large_binary()),
        ("checksum", pa.uint32()),
    ]
)
SUFFIX = ".arrow"
FRAME_BYTES = 1024
"""More than a file has of an answer beside the answer itself."""
MAX_WRITERS = 16
"""Of which each takes its share of the room before it looks again how much is left."""

Array = np.ndarray[Any, Any]


class _Stored(NamedTuple):
    """An answer as a file has it; `answer` is mapped, and not read before it is needed."""

    dtype: str
    shape: list[int]
    answer: Any
    checksum: int

    def check(self) -> Array | None:
        """The answer; None if it is not what was written: on storage that nodes share, a part of a
        file that another one is writing may be seen before the part in front of it."""
        if _checksum(self.dtype, self.shape, self.answer) != self.checksum:
            return None
        return np.frombuffer(self.answer, dtype=np.dtype(self.dtype)).reshape(self.shape)


class AnswerCache:
    """A folder of Arrow stream files, one for each process that has written; read through memory
    maps, and limited in size.

    Any number of processes may read and write at once. Each knows what was there when it opened the
    folder and what it has written itself, so that two that ask the same at the same time both ask.
    What a killed process has written is read up to its last whole answer. When a cache is opened
    over its limit, the files written longest ago go; when the limit is reached while writing, by
    whomever, or the disk is full, nothing more is kept.

    Args:
        folder: is made if it does not exist.
        max_bytes: limit of all files together. At the end of the room, processes that write at the
            same instant may each go beyond it by one answer.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, max_bytes)
        self._folder = folder
        self._max_bytes = max_bytes
        self._share = 0
        self._known: dict[bytes, _Stored] = {}
        self._written: set[bytes] = set()
        """By this process, and not in `_known`: what may never be needed takes no memory."""
        self._own = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        self._sink: Any = None
        self._writer: Any = None
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            self._known.update(_read(path))

    def find(self, question: bytes) -> Array | None:
        """The answer to a question, or None."""
        if question in self._written:
            self._known.update(_read(self._own))
            self._written.clear()
        stored = self._known.get(question)
        return None if stored is None else stored.check()

    def keep(self, question: bytes, answer: Array) -> None:
        """Remember an answer, unless it is known or there is no room."""
        if question in self._known or question in self._written:
            return
        if not self._takes(answer.nbytes + FRAME_BYTES):
            return
        try:
            self._write(question, answer)
        except OSError as error:
            logger.warning("%s: no more answers are kept, because: %s", self._folder, error)
            self._share = self._max_bytes = 0

    def _takes(self, num_bytes: int) -> bool:
        """Whether there is room for so much, which is then taken."""
        if num_bytes > self._share:
            left = self._max_bytes - _size_of(self._folder)
            if num_bytes > left:
                return False
            self._share = max(left // MAX_WRITERS, num_bytes)
        self._share -= num_bytes
        return True

    def _write(self, question: bytes, answer: Array) -> None:
        if self._writer is None:
            self._sink = pa.OSFile(str(self._own), "wb")
            self._writer = pa.ipc.new_stream(self._sink, SCHEMA)
        dtype, shape, content = answer.dtype.str, list(answer.shape), answer.tobytes()
        checksum = _checksum(dtype, shape, content)
        columns = [[question], [dtype], [shape], [content], [checksum]]
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self._written.add(question)

    def close(self) -> None:
        """End the file of this process."""
        if self._writer is None:
            return
        try:
            self._writer.close()
            self._sink.close()
        except OSError as error:  # a file without its end is read as well
            logger.warning("%s: must be writable, but: %s", self._own, error)
        self._writer = None


def open_answer_cache(config: AnswerCacheConfig) -> AnswerCache | None:
    """The cache that `config` asks for, or None.

    Raises:
        ConfigError: its folder cannot be used.
    """
    if config.folder is None:
        return None
    try:
        return AnswerCache(Path(config.folder), config.max_mb * 2**20)
    except OSError as error:
        problem = f"{config.folder} must be a folder that can be used, but: {error.strerror}"
        raise ConfigError("answer_cache.folder", [problem]) from error


def _checksum(dtype: str, shape: list[int], answer: Any) -> int:
    return zlib.crc32(answer, zlib.crc32(f"{dtype} {shape}".encode()))


def _files_in(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Those that are still there when they are looked at: others may remove them meanwhile."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            found.append((path, path.stat()))
        except FileNotFoundError:
            continue
    return found


def _size_of(folder: Path) -> int:
    return sum(status.st_size for _, status in _files_in(folder))


def _make_room(folder: Path, max_bytes: int) -> None:
    """Remove the oldest files until the rest fits."""
    files = sorted(_files_in(folder), key=lambda file: file[1].st_mtime)
    total = sum(status.st_size for _, status in files)
    for path, status in files:
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size


def _read(path: Path) -> Iterator[tuple[bytes, _Stored]]:
    """Answers of a file, in memory that is mapped and not copied."""
    try:
        reader = pa.ipc.open_stream(pa.memory_map(str(path)))
        if not reader.schema.equals(SCHEMA):
            return
        for batch in reader:
            # Lengths that lie lead beyond the mapped file, which ends the process by a signal.
            batch.validate(full=True)
            for question, dtype, shape, answer, checksum in zip(*batch.columns, strict=True):
                yield (
                    question.as_py(),
                    _Stored(dtype.as_py(), shape.as_py(), answer.as_buffer(), checksum.as_py()),
                )
    except (pa.ArrowException, OSError, ValueError):
        return  # it is being written, or who wrote it was killed, or another version: no more of it
