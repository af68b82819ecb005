"""The keys in their file: added, listed, revoked, found."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError
from craft_ray.files.database import Database
from craft_ray.service.meter.keys import Key, digest_of, make_id, make_token
from craft_ray.service.meter.terms import Scope

LOOK_EVERY_S = 0.5
"""After which a running service looks for what the command has changed."""

_COLUMNS = "id, name, digest, scopes, pairs, period_s, per_minute, created, revoked"


class KeyTable:
    """What the command does with keys.

    Args:
        database: of `open_keys`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Key]:
        """In the order in which they were made, revoked ones too.

        Raises:
            ArtifactError: the file is damaged.
        """
        rows = self._database.read(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id")
        return [_key_of(row) for row in rows]

    def add(self, key: Key) -> tuple[Key, str]:
        """Keep a new key.

        Args:
            key: its id and digest are made here.

        Returns:
            The key, and its token, which is nowhere else.

        Raises:
            ConfigError: another key that works has its name.
        """

        def work() -> tuple[Key, str]:
            if self._database.read(
                "SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL", (key.name,)
            ):
                problem = f"must be of no other key that works, but there is one of {key.name!r}"
                raise ConfigError("NAME", [f"{problem}: revoke it, or choose another name"])
            key_id = make_id()
            while self._database.read("SELECT 1 FROM keys WHERE id = ?", (key_id,)):
                key_id = make_id()
            token = make_token(key_id)
            made = replace(key, key_id=key_id, digest=digest_of(token))
            self._database.write(
                f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _row_of(made)
            )
            return made, token

        return self._database.commit(work)

    def revoke(self, word: str, now: float) -> Key:
        """End a key; what it has used stays on record.

        Args:
            word: its id, or the name of one that works.
            now: seconds of the epoch.

        Raises:
            ConfigError: there is no such key, or it is revoked already.
        """

        def work() -> Key:
            key = self._named(word)
            self._database.write("UPDATE keys SET revoked = ? WHERE id = ?", (now, key.key_id))
            return replace(key, revoked=now)

        return self._database.commit(work)

    def named(self, word: str) -> list[Key]:
        """Those of an id or a name, revoked ones too.

        Raises:
            ConfigError: there is none.
        """
        keys = self.all()
        found = [key for key in keys if word in (key.key_id, key.name)]
        if not found:
            raise _unknown(word, keys)
        return found

    def _named(self, word: str) -> Key:
        found = self.named(word)
        working = [key for key in found if key.revoked is None]
        if not working:
            raise ConfigError("ID|NAME", [f"must be a key that works, but {word!r} is revoked"])
        return working[0]


class KeyRing:
    """The keys of a running service, in memory: the file is read again when it has changed.

    Args:
        database: of `open_keys`.
        look_every_s: how old what is in memory may be.
    """

    def __init__(self, database: Database, look_every_s: float = LOOK_EVERY_S) -> None:
        self._database, self._look_every_s = database, look_every_s
        self._lock = threading.Lock()
        self._version: int | None = None
        self._looked = float("-inf")
        self._keys: dict[str, Key] = {}

    def keys(self) -> dict[str, Key]:
        """By id, revoked ones too. Is not changed: another is made.

        Raises:
            ArtifactError: the file is damaged.
            RunFailedError: it cannot be read now.
        """
        with self._lock:
            is_fresh = time.monotonic() - self._looked < self._look_every_s
            if is_fresh and self._version is not None:
                return self._keys
            looked = time.monotonic()
        # Without the lock: whoever commits has the database, and may be about to ask for keys.
        [(version,)] = self._database.read("PRAGMA data_version")
        if version != self._version:
            keys = {key.key_id: key for key in KeyTable(self._database).all()}
            with self._lock:
                self._keys, self._version = keys, version
        with self._lock:
            self._looked = looked
            return self._keys


def _unknown(word: str, keys: Sequence[Key]) -> ConfigError:
    near = did_you_mean(word, [each for key in keys for each in (key.name, key.key_id)])
    remedy = near or ": `craft-ray keys list` shows them"
    return ConfigError("ID|NAME", [f"must be the id or name of a key, but got {word!r}{remedy}"])


def _key_of(row: Sequence[Any]) -> Key:
    key_id, name, digest, scopes, *rest = row
    return Key(key_id, name, digest, cast("frozenset[Scope]", frozenset(scopes.split(","))), *rest)


def _row_of(key: Key) -> tuple[object, ...]:
    return (
        key.key_id,
        key.name,
        key.digest,
        ",".join(sorted(key.scopes)),
        key.pairs,
        key.period_s,
        key.per_minute,
        key.created,
        key.revoked,
    )
