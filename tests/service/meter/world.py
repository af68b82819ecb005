"""A file of keys, and a meter over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from craft_ray.service.meter.key_file import open_keys
from craft_ray.service.meter.key_table import KeyTable
from craft_ray.service.meter.keys import Key
from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import Asked, Begun, Scope, Stored

NOW = 1_000_000.0
SCOPES: frozenset[Scope] = frozenset({"predict", "score"})
BODY, OTHER_BODY = "a" * 64, "b" * 64


def add_key(path: Path, name: str = "Ada", **what: Any) -> tuple[Key, str]:
    """A key and its token, as the command makes it."""
    database = open_keys(path)
    try:
        return KeyTable(database).add(Key("", name, b"", SCOPES, created=NOW, **what))
    finally:
        database.close()


def revoke(path: Path, word: str) -> None:
    """As the command does it."""
    database = open_keys(path)
    try:
        KeyTable(database).revoke(word, NOW)
    finally:
        database.close()


@contextmanager
def meter_of(path: Path, now: float = NOW, **what: Any) -> Iterator[Meter]:
    """One that sees changes of keys at once."""
    meter = Meter(path, now, **{"look_every_s": 0.0, **what})
    try:
        yield meter
    finally:
        meter.close()


def asked(
    idempotency_key: str = "one",
    pairs: int = 10,
    body: str = BODY,
    holder: str = "ingress",
    attempt: str = "",
) -> Asked:
    return Asked("predict", pairs, idempotency_key, body, holder, attempt)


def begun(meter: Meter, token: str | None, what: Asked, now: float = NOW) -> Begun:
    found = meter.begin(token, "predict", what, now)
    assert isinstance(found, Begun), found
    return found


def stored(begun: Begun, pairs: int = 0) -> Stored:
    return Stored(begun.request_id, "application/octet-stream", pairs)
