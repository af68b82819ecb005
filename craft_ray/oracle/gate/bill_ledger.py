"""What a run has asked an endpoint that bills, on the disk before it is sent."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from craft_ray.config.money import billed_money
from craft_ray.errors import MoneySpentError, RunFailedError
from craft_ray.files.database import Database
from craft_ray.oracle.endpoints.capabilities import Price
from craft_ray.oracle.endpoints.wire import Request, Units
from craft_ray.oracle.gate.answer_store import AnswerStore, Entry, array_of, row_of
from craft_ray.oracle.gate.bill import (
    PARTS_OF_COST,
    Bill,
    BilledUnits,
    PriceList,
    TokensTold,
    settled,
)

State = Literal["authorised", "sent", "answered", "refused", "unknown", "replayed"]
"""`replayed`: the endpoint has shown, by a replay, that this attempt is not billed beside
another."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS attempts (key TEXT NOT NULL, attempt INTEGER NOT NULL, "
    "state TEXT NOT NULL, images INTEGER NOT NULL, texts INTEGER NOT NULL, "
    "pairs INTEGER NOT NULL, tokens INTEGER NOT NULL, told TEXT NOT NULL, "
    "cost INTEGER NOT NULL, PRIMARY KEY (key, attempt)) WITHOUT ROWID",
    # What is charged: of the attempts that are authorised, sent, answered or unknown.
    "CREATE TABLE IF NOT EXISTS charged (one INTEGER PRIMARY KEY CHECK (one = 1), "
    "cost INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO charged VALUES (1, 0)",
    # Answers on their way to the store, which other runs share: an answer is written here together
    # with the state `answered`, and leaves when the store has it.
    "CREATE TABLE IF NOT EXISTS leaving (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "content BLOB NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL, answer BLOB NOT NULL)",
)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "craft-ray:requests")
_LEAVING_AT_ONCE = 1000


@dataclass(frozen=True)
class Authorised:
    """An attempt that the budget allows."""

    key: str
    """For `Idempotency-Key`: the same for each attempt of the request, also after a resume."""
    attempt: int
    asked: BilledUnits
    units: BilledUnits
    """That it may be billed for: as asked, after what was told of others."""
    cost: int


class BillLedger:
    """One run's file of attempts: authorised -> sent -> answered, refused or unknown.

    What is found `sent` when it is opened, from a process that died, becomes `unknown`: it stays
    charged, as possibly billed. What is found `authorised` was never sent and is given back.

    Args:
        path: is made if it does not exist; `bill.db` in the run's folder.
        run: names the run. Requests of two runs have different keys.
        prices: of the endpoint.
        max_cost: that answered, possibly billed and sent requests may cost together. None: not
            bounded.
        only_read: another process owns the file, and may be writing; `total` is all that is asked.

    Raises:
        ArtifactError: the file is no such ledger.
        OracleError: the prices cannot bound the cost.
        RunFailedError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        run: str,
        prices: Sequence[Price] = (),
        max_cost: float | None = None,
        *,
        only_read: bool = False,
    ) -> None:
        self.prices = PriceList(tuple(prices))
        self.prices.check_bounded(max_cost)
        self._max_cost = max_cost
        self._tokens_told = TokensTold()
        self._delivering = threading.Lock()
        self._namespace = uuid.uuid5(_NAMESPACE, run)
        self._database = Database(path, _SCHEMA, "a bill")
        if only_read:
            return
        with self._database.transaction():
            self._write("UPDATE attempts SET state = 'unknown' WHERE state = 'sent'")
            self._write("DELETE FROM attempts WHERE state = 'authorised'")
            self._price_what_had_none()
            self._write(
                "UPDATE charged SET cost = (SELECT coalesce(sum(cost), 0) FROM attempts "
                "WHERE state IN ('answered', 'unknown'))"
            )

    def _price_what_had_none(self) -> None:
        """Of a run that was begun without prices. What had a price then keeps it."""
        for key, attempt, told, *counts in self._database.read(
            "SELECT key, attempt, told, images, texts, pairs, tokens FROM attempts "
            "WHERE cost = 0 AND state IN ('answered', 'unknown')"
        ):
            units = settled(BilledUnits(1, *counts), Units(**json.loads(told)), self.prices)
            if cost := self.prices.cost_of(units):
                self._write(
                    "UPDATE attempts SET tokens = ?, cost = ? WHERE key = ? AND attempt = ?",
                    (units.tokens, cost, key, attempt),
                )

    def __enter__(self) -> BillLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is read or written."""
        self._database.close()

    def key_of(self, request: Request) -> str:
        """The idempotency key: of the run and of what is sent, and of nothing else."""
        digest = hashlib.sha256()
        headers = json.dumps(sorted(request.headers.items()))
        for part in (request.method, request.path, headers):
            digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
        digest.update(request.body)
        return str(uuid.uuid5(self._namespace, digest.hexdigest()))

    def authorise(self, key: str, units: BilledUnits) -> Authorised:
        """Reserve what a request may cost at most.

        Raises:
            MoneySpentError: `max_cost` does not allow it; nothing was reserved.
        """
        asked, units = units, self._tokens_told.expected(units)
        cost = self.prices.cost_of(units)

        def work() -> Authorised:
            [(charged,)] = self._database.read("SELECT cost FROM charged")
            if self._max_cost is not None and charged + cost > _parts(self._max_cost):
                raise MoneySpentError(self._too_much(cost))
            [(last,)] = self._database.read(
                "SELECT coalesce(max(attempt), 0) FROM attempts WHERE key = ?", (key,)
            )
            counts = (units.images, units.texts, units.pairs, units.tokens)
            self._write(
                "INSERT INTO attempts VALUES (?, ?, 'authorised', ?, ?, ?, ?, '{}', ?)",
                (key, last + 1, *counts, cost),
            )
            self._charge(cost)
            return Authorised(key, last + 1, asked, units, cost)

        return self._database.commit(work)

    def sent(self, authorised: Authorised) -> None:
        """To be called, and to have returned, before the first byte is sent.

        Raises:
            RunFailedError: it cannot be put on record; it must not be sent.
        """
        self._database.commit(lambda: self._set(authorised, "sent"))

    def refused(self, authorised: Authorised) -> None:
        """The endpoint has done nothing: given back."""

        def work() -> None:
            self._set(authorised, "refused")
            self._charge(-authorised.cost)

        self._database.commit(work)

    def unknown(self, authorised: Authorised) -> None:
        """Nobody knows whether the endpoint has billed it: it stays charged."""
        self._database.commit(lambda: self._set(authorised, "unknown"))

    def answered(
        self,
        authorised: Authorised,
        told: Units,
        entries: Sequence[Entry],
        *,
        was_replayed: bool = False,
    ) -> None:
        """Charge what the answer costs, and keep its entries: both, or neither.

        Args:
            authorised: the attempt.
            told: what the endpoint says it has counted.
            entries: of the answer, for the store; `deliver` brings them there.
            was_replayed: the endpoint says that it has answered this key before. What was unknown
                of it is then known not to be billed beside this.
        """
        units = settled(authorised.units, told, self.prices)
        self._tokens_told.learn(authorised.asked, units)
        cost = self.prices.cost_of(units)
        key, attempt = _place(authorised)
        rows = [(content, *row_of(answer)) for content, answer in entries]

        def work() -> None:
            before = []
            if was_replayed:
                before = self._database.read(
                    "SELECT 1 FROM attempts WHERE key = ? AND state = 'answered'", (key,)
                )
                [(known,)] = self._database.read(
                    "SELECT coalesce(sum(cost), 0) FROM attempts "
                    "WHERE key = ? AND state = 'unknown'",
                    (key,),
                )
                self._write(
                    "UPDATE attempts SET state = 'replayed' WHERE key = ? AND state = 'unknown'",
                    (key,),
                )
                self._charge(-known)
            state: State = "replayed" if before else "answered"
            self._write(
                "UPDATE attempts SET state = ?, tokens = ?, told = ?, cost = ? "
                "WHERE key = ? AND attempt = ?",
                (state, units.tokens, _json_of(told), cost, key, attempt),
            )
            self._charge((0 if before else cost) - authorised.cost)
            for row in rows:
                self._write(
                    "INSERT INTO leaving (content, dtype, shape, answer) VALUES (?, ?, ?, ?)", row
                )

        self._database.commit(work)

    def deliver(self, store: AnswerStore) -> None:
        """Bring the entries of answers to the store. What a dead process left is brought too."""
        with self._delivering:  # so that whoever waits finds that its own are there already
            while rows := self._database.read(
                "SELECT id, content, dtype, shape, answer FROM leaving ORDER BY id "
                f"LIMIT {_LEAVING_AT_ONCE}"
            ):
                store.keep([(row[1], array_of(*row[2:])) for row in rows])
                self._has_left(rows[-1][0])

    def _has_left(self, last: int) -> None:
        # Others may have been added meanwhile, but none before the last one read.
        statement = "DELETE FROM leaving WHERE id <= ?"
        self._database.commit(lambda: self._write(statement, (last,)))

    def total(self) -> Bill:
        """All attempts so far, of all processes that had this ledger.

        Raises:
            ArtifactError: the file is damaged.
        """
        answered = possibly = BilledUnits()
        cost_answered = cost_possibly = refused = 0
        for state, told, requests, images, texts, pairs, tokens, cost in self._database.read(
            "SELECT state, told, count(*), sum(images), sum(texts), sum(pairs), sum(tokens), "
            "sum(cost) FROM attempts GROUP BY state, told"
        ):
            # Rows that were told the same are summed by SQLite, what they were told here.
            said = Units(**{name: value * requests for name, value in json.loads(told).items()})
            units = BilledUnits(requests, images, texts, pairs, tokens, said)
            if state == "answered":
                answered, cost_answered = answered + units, cost_answered + cost
            elif state in ("sent", "unknown"):
                possibly, cost_possibly = possibly + units, cost_possibly + cost
            elif state == "refused":
                refused += requests
        return Bill(
            answered,
            possibly,
            refused,
            cost_answered / PARTS_OF_COST,
            cost_possibly / PARTS_OF_COST,
            self.prices.currency,
        )

    def _too_much(self, cost: int) -> str:
        bill = self.total()
        most = self._max_cost or 0
        amounts = (most, bill.cost_answered, bill.cost_possibly, cost / PARTS_OF_COST)
        allowed, spent, possibly, more = (
            billed_money(amount, self.prices.currency) for amount in amounts
        )
        return (
            f"max_cost: must allow the next request, but it is {allowed}, {spent} is spent, "
            f"{possibly} possibly billed, and the request may cost {more}; nothing is lost: "
            "continue with --resume and a larger max_cost"
        )

    def _write(self, statement: str, values: Sequence[object] = ()) -> None:
        self._database.write(statement, values)

    def _charge(self, parts: int) -> None:
        if parts:
            self._write("UPDATE charged SET cost = cost + ?", (parts,))

    def _set(self, authorised: Authorised, state: State) -> None:
        statement = "UPDATE attempts SET state = ? WHERE key = ? AND attempt = ?"
        if self._database.write(statement, (state, *_place(authorised))).rowcount == 0:
            raise RunFailedError(
                "the bill was taken over by another process, which continues the run; nothing more "
                "is sent by this one"
            )


def _place(authorised: Authorised) -> tuple[str, int]:
    return authorised.key, authorised.attempt


def _parts(cost: float) -> int:
    return round(Decimal(str(cost)) * PARTS_OF_COST)


def _json_of(told: Units) -> str:
    known = {name: value for name, value in asdict(told).items() if value is not None}
    return json.dumps(known, sort_keys=True)
