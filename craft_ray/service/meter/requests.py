"""Requests that cost something: under way, answered or lost. What a repetition meets, and what a
transaction does to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from craft_ray.files.database import Database
from craft_ray.service.meter.spending import Account
from craft_ray.service.meter.terms import Asked, Stored

State = Literal["running", "answered", "lost"]
"""`lost`: its holder died; what was reserved is given back, and if its answer comes after all, it
is charged as far as the quota allows. What is refunded leaves the table."""

_COLUMNS = (
    "place, nonce, key_id, period, route, pairs, body, holder, state, ended, file, media_type"
)
_AT_ONCE = 1000


@dataclass(frozen=True)
class Kept:
    """A request as it is kept.

    Attributes:
        place: digest of key, route and Idempotency-Key.
        nonce: of the attempt.
        account: where its pairs are written down.
        pairs: reserved, or charged if it is answered.
        body: digest of it.
        holder: who answers.
        state: see `State`.
        ended: when it was answered or lost.
        file: of the answer; None: there is none.
        media_type: of the answer.
    """

    place: bytes
    nonce: bytes
    account: Account
    pairs: int
    body: str
    holder: str
    state: State = "running"
    ended: float | None = None
    file: str | None = None
    media_type: str | None = None

    @property
    def request_id(self) -> str:
        """Names the request and the attempt; fit for the name of a file."""
        return f"{self.account.key_id}-{self.place.hex()}-{self.nonce.hex()}"

    @property
    def answer(self) -> Stored:
        """Of an answered one."""
        return Stored(self.file or "", self.media_type or "", self.pairs)


class Meets(Enum):
    """What a request is to do about one that has its key, route and Idempotency-Key."""

    NOTHING = "begin"
    ITSELF = "the same attempt once more"
    RUNNING = "wait"
    ANSWERED = "take the answer"
    ANOTHER = "a mistake: the body is another"


def what_is_met(kept: Kept | None, body: str, nonce: bytes, kept_since: float) -> Meets:
    """Decide.

    Args:
        kept: what is there.
        body: digest of what is asked now.
        nonce: of this attempt.
        kept_since: answers from before are on their way out.
    """
    if kept is None or kept.state == "lost":
        return Meets.NOTHING
    if kept.ended is not None and kept.ended < kept_since:
        return Meets.NOTHING
    if kept.body != body:
        return Meets.ANOTHER
    if kept.state == "running":
        return Meets.ITSELF if kept.nonce == nonce else Meets.RUNNING
    # Settled without an answer: done for the same attempt, and nothing to repeat for another.
    return Meets.ANSWERED if kept.file is not None or kept.nonce == nonce else Meets.NOTHING


def place_of(key_id: str, asked: Asked) -> bytes:
    """Where the request is kept: as long whatever the client's key is."""
    parts = json.dumps([key_id, asked.route, asked.idempotency_key])
    return hashlib.sha256(parts.encode()).digest()[:16]


def nonce_of(attempt: str) -> bytes:
    """Of an attempt."""
    return hashlib.sha256(attempt.encode()).digest()[:8]


def parts_of(request_id: str) -> tuple[str, bytes, bytes]:
    """Key, place and nonce.

    Raises:
        ValueError: it is no id that was given out.
    """
    try:
        key_id, place, nonce = request_id.rsplit("-", 2)
        return key_id, bytes.fromhex(place), bytes.fromhex(nonce)
    except ValueError:
        problem = f"request_id must be one that was given out, but got {request_id!r}"
        raise ValueError(problem) from None


class Requests:
    """The table of requests.

    Args:
        database: of `open_keys`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, place: bytes) -> Kept | None:
        """That which is at a place."""
        found = self._where("place = ?", place)
        return found[0] if found else None

    def running(self, holder: str) -> list[Kept]:
        """Those that a holder has not ended."""
        return self._where("holder = ? AND ended IS NULL", holder)

    def holders(self) -> list[str]:
        """Of those that run."""
        rows = self._database.read("SELECT DISTINCT holder FROM requests WHERE ended IS NULL")
        return [holder for (holder,) in rows if holder]

    def keep(self, kept: Kept) -> None:
        """Begin one. If an answer was at its place, it stays on record until it is forgotten."""
        self._database.write(
            "UPDATE requests SET place = randomblob(16) WHERE place = ? AND file IS NOT NULL",
            (kept.place,),
        )
        self._database.write(
            f"INSERT OR REPLACE INTO requests ({_COLUMNS}) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _row_of(kept),
        )

    def end(self, kept: Kept) -> None:
        """It is answered or lost now."""
        self._database.write(
            "UPDATE requests SET pairs = ?, state = ?, ended = ?, file = ?, media_type = ? "
            "WHERE place = ?",
            (kept.pairs, kept.state, kept.ended, kept.file, kept.media_type, kept.place),
        )

    def remove(self, kept: Kept) -> None:
        """As if it had never been."""
        self._database.write("DELETE FROM requests WHERE place = ?", (kept.place,))

    def files_before(self, time: float) -> list[str]:
        """Of answers that are older."""
        rows = self._database.read(
            "SELECT file FROM requests WHERE ended < ? AND file IS NOT NULL", (time,)
        )
        return [file for (file,) in rows if file]

    def remove_before(self, time: float) -> int:
        """Forget some that ended before; returns how many. 0: there are no more."""
        return self._database.write(
            "DELETE FROM requests WHERE place IN "
            f"(SELECT place FROM requests WHERE ended < ? LIMIT {_AT_ONCE})",
            (time,),
        ).rowcount

    def _where(self, condition: str, value: object) -> list[Kept]:
        rows = self._database.read(f"SELECT {_COLUMNS} FROM requests WHERE {condition}", (value,))
        return [_kept_of(row[0], row[1], Account(*row[2:5]), row[5:]) for row in rows]


def _kept_of(place: bytes, nonce: bytes, account: Account, rest: Sequence[object]) -> Kept:
    return Kept(place, nonce, account, *rest)  # type: ignore[arg-type]


def _row_of(kept: Kept) -> tuple[object, ...]:
    account = kept.account
    return (
        kept.place,
        kept.nonce,
        account.key_id,
        account.period,
        account.route,
        kept.pairs,
        kept.body,
        kept.holder,
        kept.state,
        kept.ended,
        kept.file,
        kept.media_type,
    )
