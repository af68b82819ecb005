"""A SQLite file that many threads of a process share, and that survives kill -9 at any instant."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from craft_ray.errors import ArtifactError, RunFailedError

LOCK_TIMEOUT_S = 30.0
"""Another process may be writing."""


class Database:
    """One file; made with its folder if it does not exist.

    Args:
        path: of the file.
        schema: statements `CREATE TABLE IF NOT EXISTS`.
        what: the file is, for messages: `a bill`.

    Raises:
        ArtifactError: the file is something else.
        RunFailedError: it cannot be written.
    """

    def __init__(self, path: Path, schema: Sequence[str], what: str) -> None:
        self._path, self._what = path, what
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.DatabaseError) as error:
            raise self._unwritable(error) from error
        try:
            # No WAL: what continues a run may be on another node, and WAL needs shared memory.
            self._connection.execute("PRAGMA journal_mode=TRUNCATE")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            for statement in schema:
                self._connection.execute(statement)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise self._unwritable(error) from error
            raise self._no_such_file(error) from error

    def close(self) -> None:
        """No more is read or written."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block is on the disk afterwards, or nothing of it. Other
        threads and processes wait.

        Raises:
            RunFailedError: the file cannot be written.
        """
        with self._lock:
            self.write("BEGIN IMMEDIATE")
            try:
                yield
                self.write("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement of a transaction."""
        with self._lock:
            try:
                return self._connection.execute(statement, values)
            except sqlite3.Error as error:
                raise self._unwritable(error) from error

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows.

        Raises:
            ArtifactError: the file is damaged.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._no_such_file(error) from error

    def _no_such_file(self, error: object) -> ArtifactError:
        return ArtifactError(f"{self._path}: must be {self._what}, but: {error}")

    def _unwritable(self, error: object) -> RunFailedError:
        return RunFailedError(f"{self._path}: must be writable, but: {error}")
