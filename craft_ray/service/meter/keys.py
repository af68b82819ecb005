"""A key: what its owner chose for it, and the token that proves it. Pure: no file, no clock."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import get_args

from craft_ray.service.meter.terms import LOCAL_KEY, Caller, Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)
MOST_CHARACTERS = 100
"""Of a name."""
MOST_PAIRS = 10**15
"""Of a quota or a request: what SQLite adds up without an overflow."""

_TOKEN = re.compile(r"craft_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_ID = re.compile(r"[0-9a-f]{8}")
_NO_DIGEST = bytes(32)
"""What a token is compared with when its id is unknown."""


@dataclass(frozen=True)
class Key:
    """A key as it is kept.

    Attributes:
        key_id: public; 8 hexadecimal characters, or LOCAL_KEY.
        name: for people; no two keys that work have the same.
        digest: SHA-256 of the token.
        scopes: what it is good for.
        pairs: that may be asked in a period; None: any number.
        period_s: length of a period; None: all time is one.
        per_minute: requests; None: any number.
        created: seconds of the epoch.
        revoked: seconds of the epoch; None: it works.
    """

    key_id: str
    name: str
    digest: bytes
    scopes: frozenset[Scope]
    pairs: int | None = None
    period_s: float | None = None
    per_minute: int | None = None
    created: float = 0.0
    revoked: float | None = None

    @property
    def caller(self) -> Caller:
        """Whoever has the token."""
        return Caller(self.key_id, self.name, self.scopes)


NOBODYS_KEY = Key(LOCAL_KEY, LOCAL_KEY, _NO_DIGEST, frozenset(SCOPES))
"""Of the one caller of a service without keys."""


def make_token(key_id: str) -> str:
    """A new one: `craft_<key_id>_<32 random bytes as base64>`."""
    return f"craft_{key_id}_{secrets.token_urlsafe(32)}"


def make_id() -> str:
    """A new one, by chance."""
    return secrets.token_hex(4)


def id_in(token: str) -> str | None:
    """The public part of a token; None: it is none."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def digest_of(token: str) -> bytes:
    """What is stored of a token. It has 256 random bits: nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def opens(token: str, key: Key | None) -> bool:
    """Whether the token is that of the key. Takes as long where there is no key."""
    is_same = hmac.compare_digest(digest_of(token), _NO_DIGEST if key is None else key.digest)
    return is_same and key is not None and key.revoked is None


def problem_of_name(name: str) -> str | None:
    """What is wrong with a name for a key; None: nothing."""
    if not 1 <= len(name) <= MOST_CHARACTERS:
        return f"must have 1 to {MOST_CHARACTERS} characters, but has {len(name)}"
    if not name.isprintable() or name != name.strip():
        return f"must be printable, without spaces at its ends, but got {name!r}"
    if _ID.fullmatch(name) or name == LOCAL_KEY:
        return f"must not look like the id of a key, but got {name!r}"
    return None
