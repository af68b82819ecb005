"""One request, attempt after attempt, and what each attempt does to the bill."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from craft_ray.errors import BudgetError, EndpointUnavailableError, OracleError, RunFailedError
from craft_ray.oracle.endpoints.failures import Verdict, classify_broken
from craft_ray.oracle.endpoints.wire import AnswerError, Reply, Request
from craft_ray.oracle.gate.bill import units_asked
from craft_ray.oracle.gate.bill_ledger import Authorised, BillLedger
from craft_ray.oracle.gate.dialogue import Dialogue
from craft_ray.oracle.gate.pacing import backoff_s
from craft_ray.oracle.gate.sender import Broken, Sender
from craft_ray.oracle.gate.settings import GateSettings
from craft_ray.oracle.gate.traffic import Outcome, Pass, Traffic

T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    """The answer of a dialogue, and how many bytes of it are kept."""

    answer: Any
    size: int = 0


@dataclass(frozen=True)
class Split:
    """The request is too large; its parts are to be sent instead."""


class Attempts:
    """Sends requests until they are answered. Threads may share it.

    Args:
        settings: of the endpoint.
        bill: of the run.
        sender: of single attempts.
        traffic: says when.
    """

    def __init__(
        self,
        settings: GateSettings,
        bill: BillLedger,
        sender: Sender,
        traffic: Traffic,
    ) -> None:
        self._settings = settings
        self._bill = bill
        self._sender = sender
        self._traffic = traffic

    def answer(
        self, request: Request, key: str, dialogue: Dialogue[T], stop: threading.Event
    ) -> Answered | Split:
        """Blocks until there is an answer.

        Args:
            request: to send.
            key: of the request.
            dialogue: what it means.
            stop: nobody wants it any more. What is under way then is finished.

        Raises:
            StoppedError, OracleError, BudgetError, EndpointUnavailableError, RunFailedError: as
                `Gate.ask`.
        """
        settings = self._settings
        asked = units_asked(request, self._bill.prices, settings.tokens_per_image)
        ticket = self._traffic.ticket()
        failures = 0
        while True:
            passed = self._traffic.enter(ticket, asked.images + asked.texts, stop)
            try:
                authorised = self._bill.authorise(key, asked)
            except BudgetError:
                # What others have reserved may be given back, or turn out to be cheaper.
                if self._traffic.gives_way(passed, stop):
                    continue
                raise
            except BaseException:
                self._traffic.leave(passed, "not sent")
                raise
            tried = self._tried(request, dialogue, passed, authorised)
            if isinstance(tried, Answered):
                return tried
            if tried.action == "split" and dialogue.split(request):
                return Split()
            if tried.action != "retry":
                raise OracleError(tried.message)
            self._check_wait(tried)
            if passed.is_probe:
                continue  # after the rest that all of them make
            failures += 1
            if failures >= settings.max_attempts:
                raise EndpointUnavailableError(
                    f"the endpoint has not answered a request in {failures} attempts "
                    f"({tried.message}); nothing that was answered is lost"
                )
            if tried.wait_s is None or tried.wait_s < settings.first_backoff_s:
                rest_s = backoff_s(failures, settings.first_backoff_s, settings.longest_backoff_s)
                self._traffic.pause(rest_s, stop)

    def _check_wait(self, verdict: Verdict) -> None:
        longest = self._settings.longest_wait_s
        if verdict.wait_s is not None and verdict.wait_s > longest:
            raise EndpointUnavailableError(
                f"the endpoint asks to wait {verdict.wait_s:.0f} s, longer than "
                f"oracle.longest_wait_s ({longest:g}): {verdict.message}; nothing that was "
                "answered is lost, and a resumed run goes on after that"
            )

    def _tried(
        self, request: Request, dialogue: Dialogue[T], passed: Pass, authorised: Authorised
    ) -> Answered | Verdict:
        """One attempt, with its place in the bill."""
        try:
            self._bill.sent(authorised)
            reply = self._sender.send(request, authorised.key)
            understood = self._understood(request, dialogue, reply)
            if isinstance(understood, Answered):
                entries = dialogue.entries(request, understood.answer)
                understood = replace(understood, size=sum(item.nbytes for _, item in entries))
                replayed = isinstance(reply, Reply) and reply.header("Idempotency-Replayed")
                self._bill.answered(
                    authorised,
                    dialogue.told(understood.answer),
                    entries,
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
        if isinstance(understood, Answered):
            self._traffic.leave(passed, "answered")
        else:
            outcome = _kind(reply, understood)
            self._traffic.leave(passed, outcome, understood.wait_s, understood.message)
        return understood

    def _understood(
        self, request: Request, dialogue: Dialogue[T], reply: Reply | Broken
    ) -> Answered | Verdict:
        """What came back, without the key in any message."""
        if isinstance(reply, Broken):
            verdict = classify_broken(reply.problem, was_sent=reply.was_sent)
            return verdict if reply.again else Verdict("never", verdict.billed, verdict.message)
        refusal = dialogue.classify(request, reply, time.time())
        if refusal is None:
            try:
                return Answered(dialogue.decode(request, reply))
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
