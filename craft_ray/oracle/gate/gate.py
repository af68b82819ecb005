"""Asks an endpoint that bills: what is answered is kept, what is sent is counted before."""

from __future__ import annotations

import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from craft_ray.errors import RunFailedError
from craft_ray.oracle.endpoints.wire import Request
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.attempts import Answered, Attempts, Split
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.dialogue import Dialogue
from craft_ray.oracle.gate.pacing import MOST_AT_ONCE
from craft_ray.oracle.gate.sender import Sender
from craft_ray.oracle.gate.settings import GateSettings
from craft_ray.oracle.gate.traffic import StoppedError, Traffic
from craft_ray.oracle.gate.workers import Workers

__all__ = ["Dialogue", "Gate"]

T = TypeVar("T")

_LAST_ANSWERS_S = 5.0
"""What is under way is awaited for so long when nobody wants the rest any more."""
_LOOKS_UP_S = 1.0
_RECENT_BYTES = 64 * 2**20
"""Of answers that are remembered."""
_RECENT = 4096


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
        bill.deliver(answers)
        self._bill = bill
        self._sender = Sender(settings)
        self._traffic = Traffic(settings)
        self._answers = answers
        self._attempts = Attempts(settings, bill, self._sender, self._traffic)
        self._workers = Workers(MOST_AT_ONCE, "endpoint")
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._recent: OrderedDict[str, Answered] = OrderedDict()
        self._recent_bytes = 0
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
        endpoint is silent it stands still, for twice `timeout_s` at most."""
        return self._traffic.progress

    def ask(
        self, requests: Sequence[Request], dialogue: Dialogue[T]
    ) -> Iterator[tuple[Request, T]]:
        """Send requests, and give their answers in the order in which they arrive.

        Nothing is sent before the first answer is asked for, and what is sent then does not wait
        for the caller. An answer is in the store before it is given. Where an error ends it, or
        the caller closes it, what waits is not sent, and what is under way is awaited and kept;
        after an error it is given, too.

        Equal requests are sent once, also those of several callers: the gate remembers its last
        answers (64 MB). The caller looks up older ones in the store before it asks. An answer may
        thus be of another dialogue: its numbers hold, its positions are those of the request that
        is given with it.

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
                while waiting and call.under_way < self._traffic.room:
                    self._start(waiting.popleft(), dialogue, call)
                request, outcome = call.results.get()
                call.under_way -= 1
                if isinstance(outcome, Answered):
                    yield request, outcome.answer
                elif isinstance(outcome, Split):
                    waiting.extendleft(reversed(dialogue.split(request)))
                elif not isinstance(outcome, StoppedError):
                    failure = failure or outcome
                elif failure is None:
                    failure = RunFailedError(
                        "the gate was closed while it was asked; what was answered is kept"
                    )
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
            outcome: Answered | Split | BaseException
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
    ) -> Answered | Split:
        """As `_found`, with the answer in the store. While the store takes none, none is asked for:
        it would be paid for again by whoever does not find it there."""
        self._bill.deliver(self._answers)
        outcome = self._found(request, dialogue, stop)
        self._bill.deliver(self._answers)
        return outcome

    def _found(
        self, request: Request, dialogue: Dialogue[T], stop: threading.Event
    ) -> Answered | Split:
        """Of the request, or of an equal one, under way for another caller or answered before."""
        key = self._bill.key_of(request)
        while True:
            with self._lock:
                if key in self._recent:
                    return self._recent[key]
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
            own.outcome = self._attempts.answer(request, key, dialogue, stop)
            return own.outcome
        finally:
            with self._lock:
                del self._flights[key]
                # What has nothing to keep, such as a registration, may have to be said again.
                if isinstance(own.outcome, Answered) and own.outcome.size:
                    self._remember(key, own.outcome)
            own.has_ended.set()

    def _remember(self, key: str, answered: Answered) -> None:
        self._recent[key] = answered
        self._recent_bytes += answered.size
        while self._recent_bytes > _RECENT_BYTES or len(self._recent) > _RECENT:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= oldest.size


@dataclass(eq=False)
class _Flight:
    """A request that is under way, for all who want its answer."""

    has_ended: threading.Event = field(default_factory=threading.Event)
    outcome: Answered | Split | None = None


@dataclass(eq=False)
class _Call:
    """One caller's requests."""

    stop: threading.Event = field(default_factory=threading.Event)
    results: queue.SimpleQueue[tuple[Request, Answered | Split | BaseException]] = field(
        default_factory=queue.SimpleQueue
    )
    under_way: int = 0
