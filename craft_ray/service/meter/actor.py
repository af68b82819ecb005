"""The meter as an actor, which many processes ask, and its client.

The actor is restarted when it dies: all that it knows is in its file. What was asked of it
meanwhile is asked again, so each call may be repeated: a reply may be lost after the work was
done.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from craft_ray.errors import RunFailedError
from craft_ray.files.together import Together
from craft_ray.service.lasting_actor import PATIENCE_S, ask_patiently, start_lasting
from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import (
    Admitted,
    Asked,
    Balance,
    Begun,
    Refusal,
    Replayed,
    Scope,
    Stored,
    Usage,
)

Call = tuple[str, tuple[Any, ...]]
"""A method's name, and its arguments."""
Told = tuple[Any, Exception | None]
"""What it has returned, or raised."""

SLOW = ("forget_old",)
"""Methods on which others are not to wait."""
CALLS_AT_ONCE = 32
"""Threads of the actor."""


@dataclass(frozen=True)
class MeterPlan:
    """How the actor opens its `Meter`: the file, whether callers need keys, and for how many hours
    answers may be repeated."""

    path: Path
    needs_keys: bool = True
    keep_answers_h: float = 24.0


class MeterActor:
    """Opens the file with the first call: Ray restarts no actor whose constructor has failed.

    Args:
        plan: of the meter.
    """

    def __init__(self, plan: MeterPlan) -> None:
        self._plan = plan
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE)
        self._meter: Meter | None = None

    def ask(self, calls: Sequence[Call]) -> list[Told]:
        """Call methods of the meter, all at once; an empty name opens the file only."""
        try:
            meter = self._opened()
        except Exception as error:
            return [(None, error)] * len(calls)
        if len(calls) == 1:
            return [_told(meter, calls[0])]
        # In threads: what they write at the same time is one write of the disk.
        return list(self._threads.map(lambda call: _told(meter, call), calls))

    def _opened(self) -> Meter:
        with self._opening:
            if self._meter is None:
                plan = self._plan
                self._meter = Meter(
                    plan.path,
                    time.time(),
                    needs_keys=plan.needs_keys,
                    keep_answers_h=plan.keep_answers_h,
                )
            return self._meter


def _told(meter: Meter, call: Call) -> Told:
    method, arguments = call
    try:
        return (getattr(meter, method)(*arguments) if method else None), None
    except Exception as error:
        return None, error


def start_meter(plan: MeterPlan, name: str) -> MeterClient:
    """Start the actor on this node, where its file is. It ends with this process.

    Args:
        plan: of the meter.
        name: of the actor, in the namespace of craft-ray.

    Raises:
        ArtifactError: the file is something else, or of another version.
        ConfigError: there is an actor of this name.
        RunFailedError: the file cannot be written.
    """
    whole = replace(plan, path=plan.path.absolute())
    actor = start_lasting(MeterActor, whole, name, CALLS_AT_ONCE)
    client = MeterClient(actor)
    try:
        client.ask("")
    except BaseException:
        ray.kill(actor)
        raise
    return client


class MeterClient:
    """Asks the actor as if it were a `Meter`; travels between processes, and threads may share it.

    Args:
        actor: of `start_meter`.
        patience_s: how long a call is repeated while the actor restarts.

    Raises:
        RunFailedError: of each method, when the actor has not answered for so long.
    """

    def __init__(self, actor: ActorHandle[Any], patience_s: float = PATIENCE_S) -> None:
        self._actor, self._patience_s = actor, patience_s
        self._given_up: list[str] = []
        # A call of Ray takes a millisecond of CPU, which calls of several threads share.
        self._together = Together(self._ask)

    def __reduce__(self) -> tuple[type[MeterClient], tuple[Any, float]]:
        return MeterClient, (self._actor, self._patience_s)

    def admit(self, token: str | None, scope: Scope | None, now: float) -> Admitted | Refusal:
        found: Admitted | Refusal = self.ask("admit", token, scope, now)
        return found

    def begin(
        self, token: str | None, scope: Scope, asked: Asked, now: float
    ) -> Begun | Replayed | Refusal:
        """Names the attempt, if it has no name."""
        return self._begun("begin", (token, scope), asked, now)

    def begin_for(self, key_id: str, asked: Asked, now: float) -> Begun | Replayed | Refusal:
        """Names the attempt of a holder, if it has no name."""
        return self._begun("begin_for", (key_id,), asked, now)

    def settle(self, request_id: str, pairs: int, answer: Stored | None, now: float) -> Balance:
        balance: Balance = self.ask("settle", request_id, pairs, answer, now)
        return balance

    def refund(self, request_id: str, now: float) -> Balance:
        balance: Balance = self.ask("refund", request_id, now)
        return balance

    def alive(self, holder: str, now: float, given_up: Collection[str] = ()) -> None:
        """Tells what this client itself has given up, too."""
        own = list(self._given_up)
        self.ask("alive", holder, now, (*given_up, *own))
        del self._given_up[: len(own)]

    def balance(self, key_id: str, now: float) -> Balance:
        balance: Balance = self.ask("balance", key_id, now)
        return balance

    def usage(self, key_id: str, now: float) -> Usage:
        usage: Usage = self.ask("usage", key_id, now)
        return usage

    def forget_old(self, now: float) -> list[str]:
        files: list[str] = self.ask("forget_old", now)
        return files

    def _begun(
        self, method: str, who: tuple[object, ...], asked: Asked, now: float
    ) -> Begun | Replayed | Refusal:
        if asked.holder and not asked.attempt:
            asked = replace(asked, attempt=secrets.token_hex(8))
        try:
            begun: Begun | Replayed | Refusal = self.ask(method, *who, asked, now)
        except RunFailedError:
            # It may have begun: nobody would end it for as long as the holder lives.
            if asked.holder:
                self._given_up.append(asked.attempt)
            raise
        return begun

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of the meter, again and again while the actor restarts."""
        ask = self._ask_alone if method in SLOW else self._together
        call = (method, arguments)
        value, error = ask_patiently(lambda _: ask(call), "the meter", self._patience_s)
        if error is not None:  # as if it had been called here
            raise error
        return value

    def _ask_alone(self, call: Call) -> Told:
        return self._ask([call])[0]

    def _ask(self, calls: Sequence[Call]) -> Sequence[Told]:
        told: list[Told] = ray.get(self._actor.ask.remote(calls), timeout=self._patience_s)
        return told
