"""A SQLite file that many threads of a process share, and that survives kill -9 at any instant."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.files.together import Together

T = TypeVar("T")

LOCK_TIMEOUT_S = 30.0
"""Another process may be writing."""
_OTHER_FILE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Codes of files without our tables and columns, and of damaged ones. All others are of a disk or
of another process, and pass."""


@dataclass(eq=False)
class _Work:
    """What one thread wants written."""

    do: Callable[[], Any]
    result: Any = None
    error: Exception | None = None


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
        self._together = Together(self._do_together)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error
        try:
            # No WAL: what continues a run may be on another node, and WAL needs shared memory.
            self._connection.execute("PRAGMA journal_mode=TRUNCATE")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            for statement in schema:
                self._connection.execute(statement)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._failure(error) from error

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

    def commit(self, work: Callable[[], T]) -> T:
        """Do what reads and writes here; it is on the disk when this returns.

        A disk takes some 10 ms for a transaction, so what other threads bring meanwhile is done in
        one transaction with it. If a work raises, it alone has changed nothing.

        Raises:
            RunFailedError: the file cannot be written.
            Exception: of the work.
        """
        own = self._together(_Work(work))
        if own.error is not None:
            raise own.error
        result: T = own.result
        return result

    def _do_together(self, works: Sequence[_Work]) -> Sequence[_Work]:
        with self.transaction():
            for work in works:
                self.write("SAVEPOINT work")
                try:
                    work.result = work.do()
                except Exception as error:
                    if not self._connection.in_transaction:
                        raise  # a full disk has rolled back all of it
                    work.error = error
                    self.write("ROLLBACK TO work")
                self.write("RELEASE work")
        return works

    def write(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement of a transaction."""
        with self._lock:
            try:
                return self._connection.execute(statement, values)
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows.

        Raises:
            ArtifactError: the file is damaged, or of another version.
            RunFailedError: it cannot be read now.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> ArtifactError | RunFailedError:
        if getattr(error, "sqlite_errorcode", None) in _OTHER_FILE:
            return ArtifactError(f"{self._path}: must be {self._what}, but: {error}")
        return RunFailedError(f"{self._path}: must be writable, but: {error}")
