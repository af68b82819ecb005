"""The file of keys: what is in it, and how it is made and opened. The command and a running
service use it at the same time."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from craft_ray.errors import ArtifactError, ConfigError, RunFailedError
from craft_ray.files.database import Database

WHAT = "a file of `craft-ray keys`"
MAKER = 0x63726B79
"""SQLite's `application_id`: `crky`."""
VERSION = 1

_SCHEMA = (
    # First, so that whoever finds a table knows whose it is.
    f"PRAGMA application_id = {MAKER}",
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, "
    "digest BLOB NOT NULL, scopes TEXT NOT NULL, pairs INTEGER, period_s REAL, "
    "per_minute INTEGER, created REAL NOT NULL, revoked REAL) WITHOUT ROWID",
    "CREATE UNIQUE INDEX IF NOT EXISTS names ON keys (name) WHERE revoked IS NULL",
    # Pairs that are reserved, and that were charged. No foreign key: without keys, there is one
    # caller that is not in the table.
    "CREATE TABLE IF NOT EXISTS spent (key_id TEXT NOT NULL, period INTEGER NOT NULL, "
    "route TEXT NOT NULL, requests INTEGER NOT NULL, reserved INTEGER NOT NULL, "
    "charged INTEGER NOT NULL, PRIMARY KEY (key_id, period, route)) WITHOUT ROWID",
    # `place`: digest of key, route and Idempotency-Key; `nonce`: of the attempt.
    "CREATE TABLE IF NOT EXISTS requests (place BLOB PRIMARY KEY, nonce BLOB NOT NULL, "
    "key_id TEXT NOT NULL, period INTEGER NOT NULL, route TEXT NOT NULL, pairs INTEGER NOT NULL, "
    "body TEXT NOT NULL, holder TEXT NOT NULL, state TEXT NOT NULL, ended REAL, file TEXT, "
    "media_type TEXT) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS running ON requests (holder) WHERE ended IS NULL",
    "CREATE INDEX IF NOT EXISTS ended ON requests (ended) WHERE ended IS NOT NULL",
)


def open_keys(path: Path, *, make: bool = True) -> Database:
    """Open the file.

    Args:
        path: of the file. One that is made, with its folder, is for its owner's eyes only.
        make: whether it is made if it does not exist.

    Raises:
        ArtifactError: the file is something else, or of another version.
        ConfigError: it does not exist.
        RunFailedError: it cannot be written.
    """
    if not path.exists():
        if not make:
            remedy = "`craft-ray keys add NAME` makes it"
            raise ConfigError("--file", [f"must be {WHAT}, but {path} does not exist: {remedy}"])
        _touch(path)
    is_new = _is_new(path)
    return Database(path, _SCHEMA if is_new else (), WHAT)


def _touch(path: Path) -> None:
    """An empty file for its owner only; SQLite gives its journal the same mode."""
    try:
        if not path.parent.exists():
            path.parent.parent.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise RunFailedError(f"{path}: must be writable, but: {error.strerror}") from error


def _is_new(path: Path) -> bool:
    """Whether nobody has written to it yet. Looks before `Database` does, which would write its
    tables into whatever it is given."""
    if not path.is_file():
        raise ArtifactError(f"{path}: must be {WHAT}, but is no file")
    try:
        # `rw`: what a process that was killed has half written is undone.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as file:
            [(maker,)] = file.execute("PRAGMA application_id").fetchall()
            [(version,)] = file.execute("PRAGMA user_version").fetchall()
            [(tables,)] = file.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ArtifactError(f"{path}: must be {WHAT}, but: {error}") from error
        raise RunFailedError(f"{path}: must be writable, but: {error}") from error
    if maker == 0 and tables == 0:
        return True
    if maker != MAKER:
        raise ArtifactError(f"{path}: must be {WHAT}, but is a database of something else")
    if version > VERSION:
        raise ArtifactError(
            f"{path}: must be of version {VERSION} or earlier, but is of {version}: a later "
            "craft-ray has written it"
        )
    # A process may have ended, or be, between the first and the last statement.
    return int(tables) < _NUM_TABLES


_NUM_TABLES = sum(statement.startswith("CREATE") for statement in _SCHEMA)
