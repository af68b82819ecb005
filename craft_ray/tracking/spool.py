"""What MLflow has not taken yet: on this machine's disk, in order, one file for each driver.

sqlite, not lines of JSON: what was sent leaves by one atomic statement, a crash leaves no half
line, an artefact's files and their entry arrive together, and the lock on the file, which the
system drops with the process, tells whether a living driver still writes to it. Each entry is
flushed to the disk before the run goes on (0.3 ms on an SSD), so neither SIGKILL nor a power cut
takes it. One process has the file alone, so that its log needs no shared memory, which network
file systems lack.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SPOOL_FOLDER = "mlflow-spool"
LIMIT_BYTES = 256 * 2**20
MAX_METRICS_PER_REQUEST = 250
"""MLflow takes 1000; a busy server writes some hundred a second, and a request may last 10 s."""
MAX_MERGED_ENTRIES = 500
Kind = Literal["open", "tags", "inputs", "log", "folder", "model", "close"]
# That a run exists and how it ended is small, and without it the rest is worth little.
UNLIMITED: tuple[Kind, ...] = ("open", "close")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (address TEXT NOT NULL, experiment TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL, refused TEXT);
CREATE TABLE IF NOT EXISTS files (entry INTEGER NOT NULL, name TEXT NOT NULL, content BLOB);
CREATE INDEX IF NOT EXISTS files_of_entry ON files (entry);
"""
_SIZE_OF_ALL = """SELECT (SELECT COALESCE(SUM(LENGTH(body)), 0) FROM entries)
    + (SELECT COALESCE(SUM(LENGTH(content)), 0) FROM files)"""
_SIZE_OF_ENTRY = """SELECT (SELECT COALESCE(SUM(LENGTH(body)), 0) FROM entries WHERE id = ?)
    + (SELECT COALESCE(SUM(LENGTH(content)), 0) FROM files WHERE entry = ?)"""


@dataclass(frozen=True)
class Entry:
    """What one request tells MLflow. Sending it twice must be the same as sending it once."""

    ids: tuple[int, ...]
    kind: Kind
    body: Mapping[str, Any]


class Spool:
    """A queue in a file that no other process has open. Its methods may be called from any thread.

    Raises:
        OSError: the file cannot be made.
        sqlite3.Error: another process has it, or it is no spool.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._singly: set[int] = set()
        # sqlite would make it readable by all; its log inherits the mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            row = self._database.execute("SELECT address, experiment FROM spool").fetchone()
            self.address: str = row[0] if row else ""
            self.experiment: str = row[1] if row else ""
            self._bytes = int(self._database.execute(_SIZE_OF_ALL).fetchone()[0])
        except sqlite3.Error:
            self._database.close()
            raise

    @classmethod
    def create(cls, output_dir: Path, address: str, experiment: str) -> Spool:
        """A new one below `output_dir`, for what belongs to `experiment` at `address`.

        Raises:
            OSError: the file cannot be made.
            sqlite3.Error: the file cannot be written.
        """
        folder = output_dir.resolve() / SPOOL_FOLDER
        path = folder / f"{time.time_ns()}-{os.getpid()}.db"  # sorted by name is sorted by time
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            spool = cls(path)
        except FileNotFoundError:  # another driver has removed the empty folder in this moment
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            spool = cls(path)
        spool._database.execute("INSERT INTO spool VALUES (?, ?)", (address, experiment))
        spool.address, spool.experiment = address, experiment
        return spool

    def append(
        self, kind: Kind, body: Mapping[str, Any], files: Sequence[tuple[str, bytes]] = ()
    ) -> bool:
        """Keep an entry; False, and nothing kept, if the spool is full.

        Raises:
            sqlite3.Error: it cannot be written (a full disk), or is closed.
        """
        text = json.dumps(body)
        size = len(text) + sum(len(content) for _, content in files)
        with self._lock:
            if kind not in UNLIMITED and self._bytes + size > LIMIT_BYTES:
                return False
            with self._transaction():
                cursor = self._database.execute(
                    "INSERT INTO entries (kind, body) VALUES (?, ?)", (kind, text)
                )
                rows = [(cursor.lastrowid, name, content) for name, content in files]
                self._database.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
            self._bytes += size
            return True

    def first(self) -> Entry | None:
        """The oldest that was neither sent nor refused. Metrics of one run that wait in a row, with
        nothing but metrics of other runs between them, come as one: a request costs a server as
        much as many metrics do."""
        query = (
            "SELECT id, kind, body FROM entries WHERE refused IS NULL "
            f"ORDER BY id LIMIT {MAX_MERGED_ENTRIES}"
        )
        with self._lock:
            rows = self._database.execute(query).fetchall()
        if not rows:
            return None
        ids: list[int] = []
        metrics: list[Any] = []
        first_id, kind, body = rows[0][0], rows[0][1], json.loads(rows[0][2])
        if kind != "log" or first_id in self._singly:
            return Entry((first_id,), kind, body)
        for row_id, row_kind, text in rows:
            if row_kind != "log":
                break
            row_body = json.loads(text)
            if row_body["key"] != body["key"]:
                continue
            if ids and len(metrics) + len(row_body["metrics"]) > MAX_METRICS_PER_REQUEST:
                break
            ids.append(row_id)
            metrics += row_body["metrics"]
        return Entry(tuple(ids), kind, {**body, "metrics": metrics})

    def write_files(self, entry: Entry, folder: Path) -> None:
        """Unpack the files of an entry."""
        query = "SELECT name, content FROM files WHERE entry = ?"
        with self._lock:
            rows = self._database.execute(query, (entry.ids[0],)).fetchall()
        for name, content in rows:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def remove(self, entry: Entry) -> None:
        """MLflow has it."""
        with self._lock, self._transaction():
            for row_id in entry.ids:
                size = self._database.execute(_SIZE_OF_ENTRY, (row_id, row_id)).fetchone()[0]
                self._database.execute("DELETE FROM entries WHERE id = ?", (row_id,))
                self._database.execute("DELETE FROM files WHERE entry = ?", (row_id,))
                self._bytes -= int(size)

    def refuse(self, entry: Entry, reason: str) -> bool:
        """MLflow will never take it: it stays in the file, for a human to see, and is not sent.
        False for several in one, of which only one may be bad: they will come one by one."""
        if len(entry.ids) > 1:
            self._singly.update(entry.ids)
            return False
        with self._lock:
            self._database.execute(
                "UPDATE entries SET refused = ? WHERE id = ?", (reason, entry.ids[0])
            )
        return True

    def count(self, *, refused: bool = False) -> int:
        """Entries that wait to be sent, or those that were refused."""
        query = f"SELECT COUNT(*) FROM entries WHERE refused IS {'NOT' if refused else ''} NULL"
        with self._lock:
            return int(self._database.execute(query).fetchone()[0])

    def close(self) -> None:
        """Let go of the file; one without any entry is removed."""
        with self._lock:
            query = "SELECT EXISTS (SELECT 1 FROM entries)"
            is_empty = not self._database.execute(query).fetchone()[0]
            if is_empty:
                # Before the lock goes: nobody else may open what is about to vanish.
                self.path.unlink(missing_ok=True)
            self._database.close()
            if is_empty:
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                with suppress(OSError):  # another driver's spool is there
                    self.path.parent.rmdir()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All statements or none. (`with connection` begins nothing in autocommit mode.)"""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def abandoned_spools(output_dir: Path) -> Iterator[Spool]:
    """The spools that ended drivers have left with something to send, oldest first. What holds
    only refused entries, or is no spool, is left alone."""
    for path in sorted((output_dir.resolve() / SPOOL_FOLDER).glob("*.db")):
        try:
            if not path.stat().st_size:
                continue  # a driver is just making it
            spool = Spool(path)
        except (sqlite3.Error, OSError):
            continue
        if spool.address and spool.count():
            yield spool
        else:
            spool.close()
