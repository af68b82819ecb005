"""A file, a job and an event as they are kept, and how they lie in SQLite."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, fields
from typing import Any, Literal

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
Level = Literal["info", "warn", "error"]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
NOT_STARTED: tuple[Status, ...] = ("validating_files", "queued")

VERSION = 1
SCHEMA = (
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT NOT "
    "NULL, id TEXT NOT NULL, created_at REAL NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT "
    "NULL, num_bytes INTEGER NOT NULL, facts TEXT NOT NULL, UNIQUE (key_id, id))",
    "CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT NOT "
    "NULL, id TEXT NOT NULL, created_at REAL NOT NULL, status TEXT NOT NULL, request TEXT NOT "
    "NULL, plan TEXT NOT NULL, is_cancelled INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL "
    "DEFAULT 0, hold TEXT, pairs INTEGER, started_at REAL, finished_at REAL, error TEXT, result "
    "TEXT, UNIQUE (key_id, id))",
    "CREATE INDEX IF NOT EXISTS by_status ON jobs (status)",
    "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT "
    "NULL, created_at REAL NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL, data TEXT)",
    "CREATE INDEX IF NOT EXISTS of_job ON events (job, number)",
)


@dataclass(frozen=True)
class FileRecord:
    """A file of a key.

    Attributes:
        facts: of its content, see `upload.Facts`; empty of a result.
    """

    number: int
    key_id: str
    id: str
    created_at: float
    filename: str
    purpose: str
    num_bytes: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class JobRecord:
    """A fine-tuning of a key.

    Attributes:
        request: as it was sent, see `jobs.JobRequest`.
        plan: what is to be run, see `methods.Plan`.
        is_cancelled: it is to end, or has ended so.
        attempts: how often its process was started after the machine failed it.
        hold: the meter's id of the pairs that are reserved for it.
        pairs: reserved, and when it has ended those that were charged.
        error: `code`, `message`, `param`.
        result: of the summary, what the user is told.
    """

    number: int
    key_id: str
    id: str
    created_at: float
    status: Status
    request: dict[str, Any]
    plan: dict[str, Any]
    is_cancelled: bool
    attempts: int
    hold: str | None
    pairs: int | None
    started_at: float | None
    finished_at: float | None
    error: dict[str, Any] | None
    result: dict[str, Any] | None

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.status == "running"


@dataclass(frozen=True)
class EventRecord:
    """What happened to a job."""

    number: int
    created_at: float
    level: Level
    message: str
    data: dict[str, Any] | None

    @property
    def id(self) -> str:
        """Of the event."""
        return f"ftevent-{self.number}"


FILE_COLUMNS = ", ".join(each.name for each in fields(FileRecord))
JOB_COLUMNS = ", ".join(each.name for each in fields(JobRecord))
EVENT_COLUMNS = ", ".join(each.name for each in fields(EventRecord))
JSON_COLUMNS = {"facts", "request", "plan", "error", "result"}


def new_id(kind: str) -> str:
    """An id that cannot be guessed: `file-...`, `ftjob-...`."""
    return f"{kind}-{secrets.token_hex(12)}"


def file_of(row: Any) -> FileRecord:
    """From a row of `FILE_COLUMNS`."""
    values = dict(zip((each.name for each in fields(FileRecord)), row, strict=True))
    return FileRecord(**{**values, "facts": json.loads(values["facts"])})


def job_of(row: Any) -> JobRecord:
    """From a row of `JOB_COLUMNS`."""
    values = dict(zip((each.name for each in fields(JobRecord)), row, strict=True))
    for name in JSON_COLUMNS & values.keys():
        values[name] = None if values[name] is None else json.loads(values[name])
    values["is_cancelled"] = bool(values["is_cancelled"])
    return JobRecord(**values)


def event_of(row: Any) -> EventRecord:
    """From a row of `EVENT_COLUMNS`."""
    values = dict(zip((each.name for each in fields(EventRecord)), row, strict=True))
    data = values["data"]
    return EventRecord(**{**values, "data": None if data is None else json.loads(data)})
