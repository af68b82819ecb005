"""Answers that were paid for, by what they answer; shared by many runs and processes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.files.database import Database

Array = npt.NDArray[Any]
Entry = tuple[bytes, Array]
"""What is asked about, as a digest, and its answer."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answers (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "content BLOB NOT NULL UNIQUE, dtype TEXT NOT NULL, shape TEXT NOT NULL, "
    "answer BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS room (one INTEGER PRIMARY KEY CHECK (one = 1), "
    "bytes INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO room VALUES (1, 0)",
)
_OVERHEAD = 128
"""Bytes that an answer takes beside its numbers, nearly."""
_ROOM_LEFT = 0.99
"""Where the store is full, it is emptied to this part, so that it is not emptied each time, and
other processes do not wait for long."""
_KEYS_AT_ONCE = 500
_ROWS_AT_ONCE = 200


class AnswerStore:
    """A file of answers. Threads and processes may share it.

    Args:
        path: is made if it does not exist.
        max_bytes: that the answers may take; the oldest go first.

    Raises:
        ArtifactError: the file is no such store.
        RunFailedError: it cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int = 4 * 2**30) -> None:
        self._max_bytes = max_bytes
        self._database = Database(path, _SCHEMA, "a store of answers")

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is found or kept."""
        self._database.close()

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Array]:
        """Those that are here; the arrays cannot be written.

        Raises:
            ArtifactError: the file is damaged.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, Array] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[start : start + _KEYS_AT_ONCE]
            rows = self._database.read(
                "SELECT content, dtype, shape, answer FROM answers "
                f"WHERE content IN ({', '.join('?' * len(some))})",
                some,
            )
            found |= {row[0]: array_of(*row[1:]) for row in rows}
        return found

    def keep(self, entries: Sequence[Entry]) -> None:
        """On the disk when it returns. What is here already stays as it is.

        Raises:
            RunFailedError: the file cannot be written.
        """
        if not entries:
            return
        with self._database.transaction():
            added = 0
            for content, answer in entries:
                row = row_of(answer)
                cursor = self._database.write(
                    "INSERT OR IGNORE INTO answers (content, dtype, shape, answer) "
                    "VALUES (?, ?, ?, ?)",
                    (content, *row),
                )
                added += cursor.rowcount * (len(row[2]) + _OVERHEAD)
            self._database.write("UPDATE room SET bytes = bytes + ?", (added,))
            self._make_room()

    def _make_room(self) -> None:
        [(used,)] = self._database.read("SELECT bytes FROM room")
        if used <= self._max_bytes:
            return
        while used > self._max_bytes * _ROOM_LEFT:
            rows = self._database.read(
                f"SELECT id, length(answer) FROM answers ORDER BY id LIMIT {_ROWS_AT_ONCE}"
            )
            if not rows:
                break
            for number, length in rows:
                self._database.write("DELETE FROM answers WHERE id = ?", (number,))
                used -= length + _OVERHEAD
                if used <= self._max_bytes * _ROOM_LEFT:
                    break
        self._database.write("UPDATE room SET bytes = ?", (max(used, 0),))


def row_of(answer: Array) -> tuple[str, str, bytes]:
    """An array as it stands in a file."""
    whole = np.ascontiguousarray(answer)
    return whole.dtype.str, json.dumps(answer.shape), whole.tobytes()


def array_of(dtype: str, shape: str, answer: bytes) -> Array:
    """What `row_of` was given; cannot be written."""
    return np.frombuffer(answer, dtype=np.dtype(dtype)).reshape(json.loads(shape))
