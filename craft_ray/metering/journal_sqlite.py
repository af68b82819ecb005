"""The durable record of a run's queries: what was asked, what it cost, what came back.

Written as each answer arrives, so that a run that dies between two checkpoints has lost nothing
that was paid for: what continues it asks the same questions, and those that are on record are
answered from here. SQLite keeps it whole through a SIGKILL at any instant.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.metering.ledger import Spending

SCHEMA = """
CREATE TABLE IF NOT EXISTS queries (
    generation INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    number INTEGER NOT NULL,   -- of the questions of that purpose in that generation
    start INTEGER NOT NULL,    -- first context of the part
    stop INTEGER NOT NULL,
    question BLOB NOT NULL,    -- digest
    spending TEXT NOT NULL,    -- JSON, of this part
    dtype TEXT, shape TEXT, answer BLOB,
    PRIMARY KEY (generation, purpose, number, start)
)
"""
PIECES_SCHEMA = """
CREATE TABLE IF NOT EXISTS pieces (    -- of an answer, what follows its first piece
    generation INTEGER NOT NULL, purpose TEXT NOT NULL, number INTEGER NOT NULL,
    start INTEGER NOT NULL, piece INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (generation, purpose, number, start, piece)
)
"""
PIECE_BYTES = 64 * 2**20
"""SQLite takes no value above 1 GB, which logits of 1,000 classes reach at 250,000 images."""
PART = "start, stop, question, spending, dtype, shape, answer"
LOCK_TIMEOUT_S = 30.0
"""A worker that is being replaced may still be writing its last answer."""
ROOM_BYTES = 16 * 2**20
"""Must be free beside what an answer takes: a checkpoint has a few MB."""


@dataclass(frozen=True)
class QueryId:
    """Names a question within its run; the same one after a resume."""

    generation: int
    purpose: str
    """A `Purpose`, or `images`."""
    number: int


@dataclass(frozen=True)
class RecordedPart:
    """An answer, or a part of one, that has been paid for."""

    start: int
    stop: int
    spending: Spending
    answer: np.ndarray[Any, Any]


class QueryJournal:
    """One run's file. One process writes at a time.

    Args:
        path: is made if it does not exist.

    Raises:
        ArtifactError: the file is no journal.
        RunFailedError: the disk is full.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            # Threads that share it ask in turn (`QuestionRecord`).
            self._database = sqlite3.connect(
                path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.DatabaseError as error:
            raise self._cannot_be_opened(error) from error
        try:
            # No WAL: its index is memory that processes of one machine share, and the worker that
            # writes here may be replaced on another node, while the driver counts on a third.
            self._database.execute("PRAGMA journal_mode=TRUNCATE")
            # A commit is on the disk when it returns (FULL would sync the folder's entry as well,
            # which TRUNCATE does not change).
            self._database.execute("PRAGMA synchronous=NORMAL")
            # Forgotten answers are not overwritten with zeros, as some builds of SQLite do: for
            # that they would all be written once more, to the record of the change.
            self._database.execute("PRAGMA secure_delete=OFF")
            self._database.execute(SCHEMA)
            # What is no journal is left as it is.
            self._database.execute(f"SELECT generation, purpose, number, {PART} FROM queries")
            self._database.execute(PIECES_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise self._cannot_be_opened(error) from error

    def _cannot_be_opened(self, error: sqlite3.DatabaseError) -> Exception:
        if self._free_bytes() < ROOM_BYTES:  # SQLite has many names for a full disk
            return self._unwritable(error)
        return self._no_journal(error)

    def _no_journal(self, error: object) -> ArtifactError:
        return ArtifactError(f"{self._path}: must be a journal of queries, but: {error}")

    def _unwritable(self, error: object) -> RunFailedError:
        return RunFailedError(f"{self._path}: must be writable, but: {error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """No more will be recorded."""
        self._database.close()

    def ensure_room(self, num_bytes: int) -> None:
        """To be called before a question: what a full disk cannot keep must not be paid for.

        Args:
            num_bytes: of the answer.

        Raises:
            RunFailedError: the disk is full, or nearly so.
        """
        free, needed = self._free_bytes(), ROOM_BYTES + num_bytes
        if free < needed:
            raise RunFailedError(
                f"{self._path.parent}: must have {needed / 2**20:.0f} MB free to keep what is "
                f"asked for, but has {free / 2**20:.1f} MB; nothing more was asked"
            )

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._path.parent).free

    def record(
        self,
        query: QueryId,
        question: bytes,
        start: int,
        spending: Spending,
        answer: np.ndarray[Any, Any],
    ) -> bool:
        """Keep a part of an answer; durable against the end of this process when it returns.

        Returns False, and changes nothing, if that part is on record already: nothing is counted
        twice.

        Raises:
            RunFailedError: the file cannot be written.
        """
        # Its own memory, and no copy: it may have hundreds of MB.
        content = np.ascontiguousarray(answer).reshape(-1).view(np.uint8)
        first, *others = _pieces(content.data)
        place = (query.generation, query.purpose, query.number, start)
        row = (
            *place,
            start + len(answer),
            question,
            json.dumps(spending.as_dict()),
            answer.dtype.str,
            json.dumps(answer.shape),
            first,
        )
        with self._transaction():
            marks = ", ".join("?" * len(row))
            cursor = self._write(f"INSERT OR IGNORE INTO queries VALUES ({marks})", row)
            is_new = cursor.rowcount == 1
            if is_new:
                for number, piece in enumerate(others, 1):
                    statement = "INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?)"
                    self._write(statement, (*place, number, piece))
        return is_new

    def flush(self) -> None:
        """Nothing waits: what was recorded is in the file."""

    def parts(self, query: QueryId, question: bytes | None) -> list[RecordedPart]:
        """What is on record of a question, in order. None: of whichever has this place.

        Raises:
            ArtifactError: it is on record as another question: the run was continued with other
                settings, data or another oracle; or the file is damaged.
        """
        rows = self._read(
            f"SELECT {PART} FROM queries "
            "WHERE generation = ? AND purpose = ? AND number = ? ORDER BY start",
            (query.generation, query.purpose, query.number),
        )
        parts = []
        for start, stop, known, spending, dtype, shape, answer in rows:
            if question is not None and known != question:
                raise ArtifactError(f"{self._path}: {not_on_record(query)}")
            if answer is None:
                continue
            others = self._read(
                "SELECT content FROM pieces WHERE generation = ? AND purpose = ? AND number = ? "
                "AND start = ? ORDER BY piece",
                (query.generation, query.purpose, query.number, start),
            )
            if others:
                answer = b"".join([answer, *(piece for (piece,) in others)])
            try:
                array = np.frombuffer(answer, dtype=np.dtype(dtype)).reshape(json.loads(shape))
            except (ValueError, TypeError) as error:
                raise self._no_journal(error) from error
            if array.ndim < 1 or len(array) != stop - start:
                raise self._no_journal(
                    f"a part must have {stop} - {start} answers, but has {array.shape}"
                )
            parts.append(RecordedPart(start, stop, self._spending(spending), array))
        return parts

    def forget_answers(
        self, before_generation: int | None = None, kept: Collection[int] = ()
    ) -> None:
        """Drop the answers of generations that no checkpoint needs any more; what they cost stays
        on record. None: of all generations. Those of the generations `kept` stay."""
        before = sys.maxsize if before_generation is None else before_generation
        marks = ", ".join("?" * len(kept))
        old = f"generation < ? AND generation NOT IN ({marks})"
        with self._transaction():
            self._write(
                f"UPDATE queries SET answer = NULL WHERE {old} AND answer IS NOT NULL",
                (before, *kept),
            )
            self._write(f"DELETE FROM pieces WHERE {old}", (before, *kept))

    def compact(self) -> None:
        """Give back the room of forgotten answers."""
        self._write("VACUUM", ())

    def is_compact(self) -> bool:
        """Whether there is no answer, and no page of a forgotten one."""
        answers = "SELECT 1 FROM queries WHERE answer IS NOT NULL UNION SELECT 1 FROM pieces"
        return not self._read(f"{answers} LIMIT 1") and self._read("PRAGMA freelist_count") == [
            (0,)
        ]

    def is_empty(self) -> bool:
        """Whether nothing is on record."""
        return not self._read("SELECT 1 FROM queries LIMIT 1")

    def total(self) -> Spending:
        """What all queries on record have cost.

        Raises:
            ArtifactError: the file is damaged.
        """
        rows = self._read("SELECT spending FROM queries")
        return sum((self._spending(spending) for (spending,) in rows), start=Spending())

    def _write(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise self._unwritable(error) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing."""
        self._write("BEGIN IMMEDIATE", ())
        try:
            yield
            self._write("COMMIT", ())
        except BaseException:
            with suppress(sqlite3.DatabaseError):  # a full disk has rolled back by itself
                self._database.execute("ROLLBACK")
            raise

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows; a broken page is found only when it is read."""
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._no_journal(error) from error

    def _spending(self, text: str) -> Spending:
        try:
            return Spending.from_dict(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise self._no_journal(f"a spending must be whole, but: {error}") from error


def _pieces(content: memoryview) -> list[memoryview]:
    """At least one, which may be empty."""
    return [content[at : at + PIECE_BYTES] for at in range(0, max(len(content), 1), PIECE_BYTES)]


def not_on_record(query: QueryId) -> str:
    """What is wrong where the question that is asked is not the recorded one."""
    return (
        f"generation {query.generation} must ask what is on record, but its {query.purpose} "
        f"question {query.number} is another one: continue with the same data, oracle and version "
        "of Pillow and, before the first checkpoint, on a processor of the same kind, or start a "
        "new run"
    )


def digest_of_question(*parts: str | bytes) -> bytes:
    """Names what is asked, whoever asks and whenever."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
