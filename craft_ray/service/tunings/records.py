"""The files, jobs and events of all keys, in SQLite that one process owns.

What is read is read for one key: what belongs to another key is not found, by the same search of
one index as what does not exist. The exceptions are `unfinished` and `last_started`, which are for
the runner. What is added may be added again: a reply may be lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from craft_ray.files.database import Database
from craft_ray.service.tunings.rows import (
    ENDED,
    EVENT_COLUMNS,
    FILE_COLUMNS,
    JOB_COLUMNS,
    JSON_COLUMNS,
    SCHEMA,
    EventRecord,
    FileRecord,
    JobRecord,
    Level,
    Status,
    event_of,
    file_of,
    job_of,
)


class TuningRecords:
    """The one who reads and writes the database. Its methods take and give plain values, so that an
    actor can have them; they may be called from several threads.

    Raises:
        ArtifactError: the file is something else.
        RunFailedError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA, "the files and jobs of a service")

    def close(self) -> None:
        """No more is read or written."""
        self._database.close()

    def add_file(
        self,
        key_id: str,
        file_id: str,
        filename: str,
        purpose: str,
        num_bytes: int,
        facts: Mapping[str, Any],
        most_bytes: int,
        now: float,
    ) -> FileRecord | None:
        """Note a file that is on the disk; None, and nothing is noted: with it the key would have
        more than `most_bytes`."""

        def add() -> FileRecord | None:
            if (known := self.file(key_id, file_id)) is not None:
                return known
            if self.bytes_of_files(key_id) + num_bytes > most_bytes:
                return None
            self._database.write(
                "INSERT INTO files (key_id, id, created_at, filename, purpose, num_bytes, facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key_id, file_id, now, filename, purpose, num_bytes, json.dumps(facts)),
            )
            return self.file(key_id, file_id)

        return self._database.commit(add)

    def bytes_of_files(self, key_id: str) -> int:
        """That a key has."""
        rows = self._database.read(
            "SELECT COALESCE(SUM(num_bytes), 0) FROM files WHERE key_id = ?", (key_id,)
        )
        return int(rows[0][0])

    def file(self, key_id: str, file_id: str) -> FileRecord | None:
        """The key's file of this id."""
        rows = self._database.read(
            f"SELECT {FILE_COLUMNS} FROM files WHERE key_id = ? AND id = ?", (key_id, file_id)
        )
        return file_of(rows[0]) if rows else None

    def files(
        self, key_id: str, purpose: str | None, after: str | None, limit: int, newest_first: bool
    ) -> list[FileRecord] | None:
        """The key's files, at most `limit`; None: there is no file `after`."""
        condition, values = "key_id = ?", [key_id]
        if purpose is not None:
            condition, values = f"{condition} AND purpose = ?", [*values, purpose]
        rows = self._page("files", FILE_COLUMNS, condition, values, after, limit, newest_first)
        return None if rows is None else [file_of(row) for row in rows]

    def remove_file(self, key_id: str, file_id: str) -> bool:
        """Forget a file; False: there is none."""

        def remove() -> bool:
            return (
                self._database.write(
                    "DELETE FROM files WHERE key_id = ? AND id = ?", (key_id, file_id)
                ).rowcount
                == 1
            )

        return self._database.commit(remove)

    def add_job(
        self,
        key_id: str,
        job_id: str,
        request: Mapping[str, Any],
        plan: Mapping[str, Any],
        now: float,
    ) -> JobRecord:
        """A new job, whose files are to be validated."""

        def add() -> None:
            self._database.write(
                "INSERT OR IGNORE INTO jobs (key_id, id, created_at, status, request, plan) "
                "VALUES (?, ?, ?, 'validating_files', ?, ?)",
                (key_id, job_id, now, json.dumps(request), json.dumps(plan)),
            )

        self._database.commit(add)
        job = self.job(key_id, job_id)
        assert job is not None
        return job

    def job(self, key_id: str, job_id: str) -> JobRecord | None:
        """The key's job of this id."""
        rows = self._database.read(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE key_id = ? AND id = ?", (key_id, job_id)
        )
        return job_of(rows[0]) if rows else None

    def jobs(self, key_id: str, after: str | None, limit: int) -> list[JobRecord] | None:
        """The key's jobs, the newest first, at most `limit`; None: there is no job `after`."""
        rows = self._page("jobs", JOB_COLUMNS, "key_id = ?", [key_id], after, limit, True)
        return None if rows is None else [job_of(row) for row in rows]

    def num_unfinished(self, key_id: str) -> int:
        """Jobs of a key that have not ended."""
        places = ", ".join("?" * len(ENDED))
        rows = self._database.read(
            f"SELECT COUNT(*) FROM jobs WHERE key_id = ? AND status NOT IN ({places})",
            (key_id, *ENDED),
        )
        return int(rows[0][0])

    def unfinished(self) -> list[JobRecord]:
        """Of all keys, for the runner; the oldest first."""
        places = ", ".join("?" * len(ENDED))
        rows = self._database.read(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE status NOT IN ({places}) ORDER BY number",
            ENDED,
        )
        return [job_of(row) for row in rows]

    def last_started(self) -> dict[str, float]:
        """When each key had its last turn."""
        rows = self._database.read(
            "SELECT key_id, MAX(started_at) FROM jobs WHERE started_at IS NOT NULL GROUP BY key_id"
        )
        return {key_id: started for key_id, started in rows}

    def cancel(self, key_id: str, job_id: str, now: float) -> JobRecord | None:
        """Ask for the end of a job. One that waits has ended when this returns; one that runs is
        ended by the runner. None: there is none."""

        def cancel() -> None:
            self._database.write(
                "UPDATE jobs SET is_cancelled = 1 WHERE key_id = ? AND id = ? AND status NOT IN "
                "('succeeded', 'failed', 'cancelled')",
                (key_id, job_id),
            )
            self._database.write(
                "UPDATE jobs SET status = 'cancelled', finished_at = ? WHERE key_id = ? AND id = ? "
                "AND status IN ('validating_files', 'queued')",
                (now, key_id, job_id),
            )

        self._database.commit(cancel)
        return self.job(key_id, job_id)

    def change_job(self, key_id: str, job_id: str, was: Status, **values: Any) -> bool:
        """Set columns of a job, if it still has the status `was`: somebody may have cancelled it.

        Args:
            key_id, job_id: of the job.
            was: its status.
            values: by column.

        Returns:
            Whether it had.
        """
        assert values.keys() <= {each.name for each in fields(JobRecord)}
        columns = ", ".join(f"{name} = ?" for name in values)
        stored = [
            json.dumps(value) if name in JSON_COLUMNS and value is not None else value
            for name, value in values.items()
        ]

        def change() -> bool:
            return (
                self._database.write(
                    f"UPDATE jobs SET {columns} WHERE key_id = ? AND id = ? AND status = ?",
                    (*stored, key_id, job_id, was),
                ).rowcount
                == 1
            )

        return self._database.commit(change)

    def add_event(
        self,
        key_id: str,
        job_id: str,
        level: Level,
        message: str,
        data: Mapping[str, Any] | None,
        now: float,
    ) -> None:
        """Note what happened to a job."""

        def add() -> None:
            self._database.write(
                "INSERT INTO events (job, created_at, level, message, data) SELECT number, ?, ?, "
                "?, ? FROM jobs WHERE key_id = ? AND id = ?",
                (now, level, message, None if data is None else json.dumps(data), key_id, job_id),
            )

        self._database.commit(add)

    def events(
        self, key_id: str, job_id: str, after: str | None, limit: int
    ) -> list[EventRecord] | None:
        """Of the key's job, the newest first; None: there is no such job, or no event `after`."""
        job = self.job(key_id, job_id)
        if job is None:
            return None
        before = 1 << 62
        if after is not None:
            word = after.removeprefix("ftevent-")
            if not word.isdecimal() or len(word) > 18:
                return None
            before = int(word)
        rows = self._database.read(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE job = ? AND number < ? ORDER BY number DESC "
            "LIMIT ?",
            (job.number, before, limit),
        )
        return [event_of(row) for row in rows]

    def _page(
        self,
        table: str,
        columns: str,
        condition: str,
        values: list[str],
        after: str | None,
        limit: int,
        newest_first: bool,
    ) -> list[Any] | None:
        order, comparison = ("DESC", "<") if newest_first else ("ASC", ">")
        given: list[Any] = list(values)
        if after is not None:
            found = self._database.read(
                f"SELECT number FROM {table} WHERE key_id = ? AND id = ?", (values[0], after)
            )
            if not found:
                return None
            condition, given = f"{condition} AND number {comparison} ?", [*given, found[0][0]]
        return self._database.read(
            f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY number {order} LIMIT ?",
            (*given, limit),
        )
