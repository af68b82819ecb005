"""Asks an endpoint that bills: what is answered is kept, what is sent is counted before."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from craft_ray.errors import BudgetError, EndpointUnavailableError, OracleError, RunFailedError
from craft_ray.oracle.endpoints.failures import Verdict, classify_broken
from craft_ray.oracle.endpoints.wire import AnswerError, Reply, Request, Units
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill import units_asked
from craft_ray.oracle.gate.bill_ledger import Authorised, BillLedger
from craft_ray.oracle.gate.pacing import MOST_AT_ONCE, backoff_s
from craft_ray.oracle.gate.sender import Broken, Sender
from craft_ray.oracle.gate.settings import GateSettings
from craft_ray.oracle.gate.traffic import Outcome, Pass, StoppedError, Traffic
from craft_ray.oracle.gate.workers import Workers

T = TypeVar("T")

_LAST_ANSWERS_S = 5.0
"""What is under way is awaited for so long when nobody wants the rest any more."""
_LOOKS_UP_S = 1.0


class Dialogue(Protocol[T]):
    """What a question brings with it: how its requests are understood. Called by many threads."""

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        """What a refusal means; None if the reply is an answer. `now` is Unix time, in seconds."""
        ...

    def decode(self, request: Request, reply: Reply) -> T:
        """The answer in a reply.

        Raises:
            AnswerError: it is not what was asked for.
        """
        ...

    def split(self, request: Request) -> Sequence[Request]:
        """Smaller requests for the same, after a verdict `split`. Empty: it cannot be split."""
        ...

    def entries(self, request: Request, answer: T) -> Sequence[tuple[bytes, npt.NDArray[Any]]]:
        """What is kept of an answer: a digest of what was asked about, and its numbers."""
        ...

    def told(self, answer: T) -> Units:
        """What the endpoint says it has counted."""
        ...


class Gate:
    """One endpoint's gate: all that asks the endpoint in a run goes through it, from any thread.
    It sends from threads of its own, 64 at most.

    Args:
        settings: of the endpoint.
        bill: of the run; with the prices and the `max_cost` of the settings.
        answers: where what is paid for is kept.

    The bill and the store are the caller's to close, after the gate.

    Raises:
        OracleError: the environment's proxies cannot be.
        RunFailedError: what an earlier process left cannot be brought to the store.
    """

    def __init__(self, settings: GateSettings, bill: BillLedger, answers: AnswerStore) -> None:
        self._settings = settings
        self._bill = bill
        self._answers = answers
        bill.deliver(answers)
        self._sender = Sender(settings)
        self._traffic = Traffic(settings)
        self._workers = Workers(MOST_AT_ONCE, "endpoint")
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._calls: set[_Call] = set()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops all that waits. What is under way is awaited for 5 s and kept."""
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.stop.set()
        self._traffic.wake()
        until = time.monotonic() + _LAST_ANSWERS_S
        while self._flights and time.monotonic() < until:
            time.sleep(0.02)
        self._workers.close()
        self._sender.close()

    @property
    def progress(self) -> int:
        """Grows with every attempt, every answer and every second waited on purpose. While the
        endpoint is silent it stands still, for `timeout_s` at most."""
        return self._traffic.progress

    def ask(
        self, requests: Sequence[Request], dialogue: Dialogue[T]
    ) -> Iterator[tuple[Request, T]]:
        """Send requests, and give their answers in the order in which they arrive.

        Nothing is sent before the first answer is asked for, and what is sent then does not wait
        for the caller. An answer is in the store before it is given. Where an error ends it, or
        the caller closes it, what waits is not sent, and what is under way is awaited and kept;
        after an error it is given, too. Equal requests that are under way at once are sent once.

        Args:
            requests: to send. One that was split is given as its parts.
            dialogue: what they mean.

        Raises:
            OracleError: the endpoint refuses them, and would each time.
            BudgetError: what is next could exceed `max_cost`.
            EndpointUnavailableError: the endpoint does not answer, or asks to wait for too long.
            RunFailedError: what was answered cannot be written to the disk.
        """
        call = _Call()
        waiting = deque(requests)
        failure: BaseException | None = None
        with self._lock:
            self._calls.add(call)
        try:
            while waiting or call.under_way:
                while waiting and call.under_way < MOST_AT_ONCE:
                    self._start(waiting.popleft(), dialogue, call)
                request, outcome = call.results.get()
                call.under_way -= 1
                if isinstance(outcome, _Answered):
                    yield request, outcome.answer
                elif isinstance(outcome, _Split):
                    waiting.extendleft(reversed(outcome.parts))
                else:
                    failure = failure or outcome
                if failure is not None:
                    waiting.clear()
                    self._stop(call)
            if failure is not None:
                raise failure
        finally:
            self._stop(call)
            until = time.monotonic() + _LAST_ANSWERS_S
            with suppress(queue.Empty):
                while call.under_way and (left := until - time.monotonic()) > 0:
                    call.results.get(timeout=left)
                    call.under_way -= 1
            with self._lock:
                self._calls.discard(call)

    def _start(self, request: Request, dialogue: Dialogue[T], call: _Call) -> None:
        def job() -> None:
            outcome: _Answered | _Split | BaseException
            try:
                outcome = self._outcome(request, dialogue, call.stop)
            except BaseException as error:  # given to whoever asks
                outcome = error
            call.results.put((request, outcome))

        self._workers.do(job)
        call.under_way += 1

    def _stop(self, call: _Call) -> None:
        call.stop.set()
        self._traffic.wake()

    def _outcome(
        self, request: Request, dialogue: Dialogue[T], stop: threading.Event
    ) -> _Answered | _Split:
        """Of the request, or of an equal one that is under way for another caller."""
        key = self._bill.key_of(request)
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    own = self._flights[key] = _Flight()
                    break
            while not flight.has_ended.wait(_LOOKS_UP_S):
                if stop.is_set():
                    raise StoppedError
            if flight.outcome is not None:
                return flight.outcome
        try:
            own.outcome = self._asked(request, key, dialogue, stop)
            return own.outcome
        finally:
            with self._lock:
                del self._flights[key]
            own.has_ended.set()

    def _asked(
        self, request: Request, key: str, dialogue: Dialogue[T], stop: threading.Event
    ) -> _Answered | _Split:
        """As many attempts as it takes, or as are allowed."""
        settings = self._settings
        asked = units_asked(request, self._bill.prices, settings.tokens_per_image)
        ticket = self._traffic.ticket()
        failures = 0
        while True:
            passed = self._traffic.enter(ticket, asked.images + asked.texts, stop)
            try:
                authorised = self._bill.authorise(key, asked)
            except BaseException as error:
                self._traffic.leave(passed, "not sent")
                # What others have reserved may be given back, or turn out to be cheaper.
                if isinstance(error, BudgetError) and self._traffic.others_under_way(stop):
                    continue
                raise
            tried = self._tried(request, dialogue, passed, authorised)
            if isinstance(tried, _Answered):
                self._bill.deliver(self._answers)
                return tried
            if tried.action == "split" and (parts := tuple(dialogue.split(request))):
                return _Split(parts)
            if tried.action != "retry":
                raise OracleError(tried.message)
            self._check_wait(tried)
            if passed.is_probe:
                continue  # after the rest that all of them make
            failures += 1
            if failures >= settings.max_attempts:
                raise EndpointUnavailableError(
                    f"the endpoint has not answered a request in {failures} attempts "
                    f"({tried.message}); nothing is lost: continue with --resume"
                )
            if tried.wait_s is None or tried.wait_s < settings.first_backoff_s:
                rest_s = backoff_s(failures, settings.first_backoff_s, settings.longest_backoff_s)
                self._traffic.pause(rest_s, stop)

    def _check_wait(self, verdict: Verdict) -> None:
        longest = self._settings.longest_wait_s
        if verdict.wait_s is not None and verdict.wait_s > longest:
            raise EndpointUnavailableError(
                f"the endpoint asks to wait {verdict.wait_s:.0f} s, longer than "
                f"oracle.longest_wait_s ({longest:g}): {verdict.message}; nothing is lost: "
                "continue with --resume after that"
            )

    def _tried(
        self, request: Request, dialogue: Dialogue[T], passed: Pass, authorised: Authorised
    ) -> _Answered | Verdict:
        """One attempt, with its place in the bill."""
        try:
            self._bill.sent(authorised)
            reply = self._sender.send(request, authorised.key)
            understood = self._understood(request, dialogue, reply)
            if isinstance(understood, _Answered):
                replayed = isinstance(reply, Reply) and reply.header("Idempotency-Replayed")
                self._bill.answered(
                    authorised,
                    dialogue.told(understood.answer),
                    dialogue.entries(request, understood.answer),
                    was_replayed=(replayed or "").strip().lower() == "true",
                )
            elif understood.billed == "no":
                self._bill.refused(authorised)
            else:
                self._bill.unknown(authorised)
        except BaseException as error:
            with suppress(RunFailedError):
                self._bill.unknown(authorised)
            self._traffic.leave(passed, "failed", problem=type(error).__name__)
            raise
        if isinstance(understood, _Answered):
            self._traffic.leave(passed, "answered")
        else:
            outcome = _kind(reply, understood)
            self._traffic.leave(passed, outcome, understood.wait_s, understood.message)
        return understood

    def _understood(
        self, request: Request, dialogue: Dialogue[T], reply: Reply | Broken
    ) -> _Answered | Verdict:
        """What came back, without the key in any message."""
        if isinstance(reply, Broken):
            verdict = classify_broken(reply.problem, was_sent=reply.was_sent)
            return verdict if reply.again else Verdict("never", verdict.billed, verdict.message)
        refusal = dialogue.classify(request, reply, time.time())
        if refusal is None:
            try:
                return _Answered(dialogue.decode(request, reply))
            except AnswerError as error:
                refusal = Verdict("retry" if error.again else "never", "possibly", str(error))
        masked = self._settings.mask(refusal.message)
        return Verdict(refusal.action, refusal.billed, masked, refusal.wait_s)


def _kind(reply: Reply | Broken, verdict: Verdict) -> Outcome:
    """What a refusal says about the endpoint."""
    if isinstance(reply, Broken):
        return "overloaded" if reply.was_slow else "failed"
    if verdict.action != "retry":
        return "refused"
    if verdict.wait_s is not None:
        return "asked to wait"
    return "overloaded" if reply.status in (429, 503) else "failed"


@dataclass(frozen=True)
class _Answered:
    answer: Any


@dataclass(frozen=True)
class _Split:
    parts: tuple[Request, ...]


@dataclass(eq=False)
class _Flight:
    """A request that is under way, for all who want its answer."""

    has_ended: threading.Event = field(default_factory=threading.Event)
    outcome: _Answered | _Split | None = None


@dataclass(eq=False)
class _Call:
    """One caller's requests."""

    stop: threading.Event = field(default_factory=threading.Event)
    results: queue.SimpleQueue[tuple[Request, _Answered | _Split | BaseException]] = field(
        default_factory=queue.SimpleQueue
    )
    under_way: int = 0
