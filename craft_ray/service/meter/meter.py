"""The meter: who may ask, how much, how often, and what was answered before.

Pairs are reserved before they are asked, charged when they are answered, and given back if they are
not. The file is on the disk when a method returns, so that kill -9 at any instant leaves it right.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from craft_ray.service.meter import refusals
from craft_ray.service.meter.admission import Admission
from craft_ray.service.meter.holders import Holders
from craft_ray.service.meter.key_file import open_keys
from craft_ray.service.meter.key_table import LOOK_EVERY_S, KeyRing
from craft_ray.service.meter.keys import MOST_PAIRS, Key
from craft_ray.service.meter.quota import period_at
from craft_ray.service.meter.requests import (
    Kept,
    Meets,
    Requests,
    nonce_of,
    parts_of,
    place_of,
    what_is_met,
)
from craft_ray.service.meter.spending import Account, Spending
from craft_ray.service.meter.terms import (
    Admitted,
    Asked,
    Balance,
    Begun,
    Rate,
    Refusal,
    Replayed,
    Scope,
    Stored,
    Usage,
)

HOUR_S = 3600.0
TOLD_AGAIN_S = 60.0
"""How long files of old answers are told once more to whoever asks: a reply may be lost."""


class Meter:
    """Over one file, which one meter has at a time; the command may change keys in it meanwhile.

    Threads may share it: what they write at the same time is written together. All times are
    seconds of the epoch.

    Args:
        path: of the file; made if it does not exist.
        now: from here on, holders of requests that run are given 10 s to be heard of.
        needs_keys: False: there is one caller, who needs no key: `LOCAL_KEY`.
        keep_answers_h: how long an answer may be repeated.
        look_every_s: how late a change of the keys may be noticed.

    Raises:
        ArtifactError: the file is something else, or of another version.
        RunFailedError: it cannot be written. Each method may raise this, too, and changes nothing
            then.
    """

    def __init__(
        self,
        path: Path,
        now: float,
        *,
        needs_keys: bool = True,
        keep_answers_h: float = 24.0,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._database = open_keys(path)
        ring = KeyRing(self._database, look_every_s) if needs_keys else None
        self._admission = Admission(ring)
        self._spending = Spending(self._database)
        self._requests = Requests(self._database)
        self._holders = Holders(self._requests.holders(), now)
        self._keep_s = keep_answers_h * HOUR_S
        self._forgetting = threading.Lock()
        self._told: tuple[float, float] | None = None  # when, and of which answers

    def close(self) -> None:
        """Nothing more is asked of it."""
        self._database.close()

    def admit(self, token: str | None, scope: Scope | None, now: float) -> Admitted | Refusal:
        """Take a request that costs nothing; it counts as one of the minute.

        Args:
            token: what follows `Bearer `; None: there was no such header.
            scope: that the key must have; None: any key will do.
            now: the time.
        """
        key = self._admission.admit(token, scope, now)
        return key if isinstance(key, Refusal) else Admitted(key[0].caller, key[1])

    def begin(
        self, token: str | None, scope: Scope, asked: Asked, now: float
    ) -> Begun | Replayed | Refusal:
        """Take a request that costs something: reserve its pairs, or give what was answered before.

        May be repeated with the same `Asked.attempt`.

        Raises:
            ValueError: the pairs are no number of pairs.
        """
        admitted = self._admission.admit(token, scope, now)
        if not isinstance(admitted, Refusal):
            return self._begin(admitted[0], asked, now, admitted[1])
        if admitted.status == 429 and admitted.caller is not None and asked.attempt:
            # What has begun, and was told so by a reply that was lost, is not stopped by this.
            key = self._admission.key(admitted.caller.key_id)
            _, met = self._met(key, asked, nonce_of(asked.attempt), now)
            if met is Meets.ITSELF:
                return self._begin(key, asked, now, admitted.rate)
        return admitted

    def begin_for(self, key_id: str, asked: Asked, now: float) -> Begun | Replayed | Refusal:
        """`begin` without a token, a scope and a rate: for what was admitted before.

        A tuning names no holder: its reservation stays until it is settled or refunded, and a
        repetition, after a restart too, gets the same one; once it is settled, it gets `Replayed`.

        Raises:
            ValueError: the pairs are no number of pairs.
        """
        key = self._admission.keys().get(key_id)
        if key is None or key.revoked is not None:
            return refusals.unknown_key(f"must be of a key that works, but {key_id} is none")
        return self._begin(key, asked, now, None)

    def settle(self, request_id: str, pairs: int, answer: Stored | None, now: float) -> Balance:
        """Charge what was asked, of what was reserved, and keep where the answer is.

        Repetitions change nothing. An answer that comes when its holder was given up is charged as
        far as the quota allows, unless somebody else has begun to answer.

        Raises:
            ValueError: the pairs are more than were reserved, or the request is none.
        """
        key_id, place, nonce = parts_of(request_id)
        key = self._admission.key(key_id)

        def work() -> Balance:
            kept = self._requests.find(place)
            if kept is not None and kept.nonce == nonce and kept.state != "answered":
                if not 0 <= pairs <= kept.pairs:
                    raise ValueError(
                        f"0 <= pairs <= reserved must hold, but got {pairs} of {kept.pairs}"
                    )
                self._settle(key, kept, pairs, answer, now)
            return self._spending.balance(key, now)

        return self._database.commit(work)

    def refund(self, request_id: str, now: float) -> Balance:
        """Give back what was reserved: there is no answer. Repetitions change nothing.

        Raises:
            ValueError: the request is none.
        """
        key_id, place, nonce = parts_of(request_id)
        key = self._admission.key(key_id)

        def work() -> Balance:
            kept = self._requests.find(place)
            if kept is not None and kept.nonce == nonce:
                self._refund(kept)
            return self._spending.balance(key, now)

        return self._database.commit(work)

    def alive(self, holder: str, now: float, given_up: Collection[str] = ()) -> None:
        """A holder says, each 2 s, that it lives.

        Args:
            holder: its name.
            now: the time.
            given_up: attempts whose `begin` it has not heard the end of. They are refunded.
        """
        self._holders.hear(holder, now)
        if given_up:
            nonces = {nonce_of(attempt) for attempt in given_up}

            def work() -> None:
                for kept in self._requests.running(holder):
                    if kept.nonce in nonces:
                        self._refund(kept)

            self._database.commit(work)
        self._give_back(now)

    def balance(self, key_id: str, now: float) -> Balance:
        """Of the period that runs.

        Raises:
            ValueError: there is no such key.
        """
        self._give_back(now)
        return self._spending.balance(self._admission.key(key_id), now)

    def usage(self, key_id: str, now: float) -> Usage:
        """Of the period that runs.

        Raises:
            ValueError: there is no such key.
        """
        self._give_back(now)
        return self._spending.usage(self._admission.key(key_id), now)

    def forget_old(self, now: float) -> list[str]:
        """Forget requests that ended before the time for which answers are kept.

        Returns:
            Files of their answers, to be deleted. A file is told by more than one call: what a call
            has told is forgotten by the first one that comes a minute later.
        """
        before = now - self._keep_s
        with self._forgetting:
            if self._told is not None and now - self._told[0] >= TOLD_AGAIN_S:
                forget, self._told = self._told[1], None
                while self._database.commit(lambda: self._requests.remove_before(forget)):
                    pass
            files = self._requests.files_before(before)
            if self._told is None:
                self._told = now, before
            return files

    def _met(self, key: Key, asked: Asked, nonce: bytes, now: float) -> tuple[Kept | None, Meets]:
        kept = self._requests.find(place_of(key.key_id, asked))
        return kept, what_is_met(kept, asked.body_digest, nonce, now - self._keep_s)

    def _begin(
        self, key: Key, asked: Asked, now: float, rate: Rate | None
    ) -> Begun | Replayed | Refusal:
        if not 0 <= asked.pairs <= MOST_PAIRS:
            raise ValueError(f"0 <= pairs <= {MOST_PAIRS} must hold, but got {asked.pairs}")
        own = secrets.token_hex(8) if asked.holder else ""
        nonce = nonce_of(asked.attempt or own)
        self._holders.hear(asked.holder, now)
        dead: dict[str, float] = {}

        def work() -> Begun | Replayed | Refusal:
            dead.update(self._lose(now))
            kept, met = self._met(key, asked, nonce, now)
            if kept is None or met is Meets.NOTHING:
                return self._reserve(key, asked, nonce, now, rate)
            if met is Meets.ANOTHER:
                return refusals.another_body(key, rate)
            if met is Meets.RUNNING:
                return refusals.still_running(key, rate)
            balance = self._spending.balance(key, now)
            if met is Meets.ITSELF:
                return Begun(kept.request_id, key.caller, balance, rate)
            return Replayed(key.caller, kept.answer, balance, rate)

        begun = self._database.commit(work)
        self._holders.bury(dead)
        return begun

    def _reserve(
        self, key: Key, asked: Asked, nonce: bytes, now: float, rate: Rate | None
    ) -> Begun | Refusal:
        balance = self._spending.balance(key, now)
        if balance.remaining is not None and asked.pairs > balance.remaining:
            return refusals.quota_exhausted(key, asked.pairs, balance, rate)
        period = period_at(now, key.created, key.period_s)
        account = Account(key.key_id, period.number, asked.route)
        place = place_of(key.key_id, asked)
        kept = Kept(place, nonce, account, asked.pairs, asked.body_digest, asked.holder)
        self._spending.reserve(account, asked.pairs)
        self._requests.keep(kept)
        spent = replace(balance, spent=balance.spent + asked.pairs)
        return Begun(kept.request_id, key.caller, spent, rate)

    def _settle(self, key: Key, kept: Kept, pairs: int, answer: Stored | None, now: float) -> None:
        if kept.state == "running":
            self._spending.release(kept.account, kept.pairs)
        elif key.pairs is not None:
            left = key.pairs - self._spending.spent(key.key_id, kept.account.period)
            pairs = min(pairs, max(0, left))
        self._spending.charge(kept.account, pairs)
        file, media_type = (None, None) if answer is None else (answer.file, answer.media_type)
        self._requests.end(
            replace(
                kept, pairs=pairs, state="answered", ended=now, file=file, media_type=media_type
            )
        )

    def _refund(self, kept: Kept) -> None:
        if kept.state == "running":
            self._spending.release(kept.account, kept.pairs)
        if kept.state != "answered":
            self._requests.remove(kept)

    def _give_back(self, now: float) -> None:
        """What holders that are dead have reserved."""
        if self._holders.dead(now):
            self._holders.bury(self._database.commit(lambda: self._lose(now)))

    def _lose(self, now: float) -> dict[str, float]:
        # Looked up within the transaction: a holder may have begun to answer in one before it.
        dead = self._holders.dead(now)
        for holder in dead:
            for kept in self._requests.running(holder):
                self._spending.release(kept.account, kept.pairs)
                self._requests.end(replace(kept, state="lost", ended=now))
        return dead
