"""What all routes need: who asks, what it costs, and an answer that is charged once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from craft_ray.config.service import ServiceConfig
from craft_ray.errors import DataError, OracleError, RunFailedError
from craft_ray.service.asking import Asker
from craft_ray.service.given_away import NotGivenError
from craft_ray.service.http.bodies import bearer_token
from craft_ray.service.http.metrics import Metrics
from craft_ray.service.http.problems import Problem, rate_headers
from craft_ray.service.meter.actor import MeterClient
from craft_ray.service.meter.meter import Meter
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
)
from craft_ray.service.shelf import Shelf

logger = logging.getLogger(__name__)

LAST_WORKS_S = 5.0
"""How long an ingress that ends waits for what it has begun; Serve gives it ten seconds."""
TRY_AGAIN_S = 5.0
SHARE_OF_A_KEY = 0.75
"""Of `bounds.requests_at_a_time`, at most."""
MOST_TASKS_BYTES = 1_000_000_000
"""Of the tasks of a key."""

Given = TypeVar("Given")


class Desk:
    """One ingress process.

    Args:
        config: of the service.
        meter: of it.
        asker: of its pool.
    """

    def __init__(self, config: ServiceConfig, meter: Meter | MeterClient, asker: Asker) -> None:
        self.config, self.meter, self.asker = config, meter, asker
        self.holder = f"ingress-{secrets.token_hex(8)}"
        folder = Path(config.folder)
        bounds = config.bounds
        # Pixels are of one model: another start may have another, which wants other ones.
        how = hashlib.sha256(repr(asker.describe().transform).encode()).hexdigest()[:12]
        self.images = Shelf(
            folder / "images" / how, bounds.images_per_key, bounds.images_mb_per_key * 10**6
        )
        self.tasks = Shelf(folder / "tasks", bounds.tasks_per_key, MOST_TASKS_BYTES)
        self.answers = folder / "answers"
        self.metrics = Metrics(asker.waiting)
        self.given_up: list[str] = []
        """Attempts of which the meter may know more than is known here."""
        self._works: dict[asyncio.Task[Any], str] = {}
        """Whose each of them is."""

    @property
    def most_bytes(self) -> int:
        """Of a body."""
        return self.config.bounds.body_mb * 10**6

    async def admit(self, request: Request, scope: Scope | None) -> Admitted:
        """Let somebody in, for a request that costs nothing by itself.

        Raises:
            Problem: 401, 403 or 429.
        """
        said = await self.metered(self.meter.admit, bearer_token(request), scope, time.time())
        if isinstance(said, Refusal):
            if said.caller is not None:
                request.state.key_name = said.caller.name
            raise Problem.of(said)
        request.state.key_name = said.caller.name
        request.state.rate = said.rate
        return said

    async def metered(self, call: Callable[..., Given], *words: Any) -> Given:
        """What the meter says; it may be starting again.

        Raises:
            Problem: 503, it does not answer.
        """
        try:
            return await asyncio.to_thread(call, *words)
        except RunFailedError as error:
            logger.error("the meter does not answer: %s", error)
            raise Problem(
                503,
                "no_meter",
                "nothing is answered that cannot be counted; try again",
                TRY_AGAIN_S,
            ) from error

    async def answer(
        self,
        request: Request,
        admitted: Admitted,
        asked: Asked,
        work: Callable[[], Awaitable[bytes]],
        media_type: str,
        *,
        keep: bool = True,
    ) -> Response:
        """Reserve, answer, keep the answer, settle; or repeat what was answered before.

        Whoever asked may be gone meanwhile: the answer is finished, kept and charged, and whoever
        sends the same Idempotency-Key has it.

        Args:
            request: for its headers.
            admitted: who asks.
            asked: what.
            work: makes the answer's body.
            media_type: of the answer.
            keep: whether the answer is kept for a repetition.

        Raises:
            Problem: what is wrong with it; nothing is charged.
        """
        key_id = admitted.caller.key_id
        self._check_room(key_id, admitted.rate)
        # A task of its own from the first: of a request that ends between the two, nobody would
        # know that its pairs are reserved.
        task = asyncio.create_task(self._answered(admitted, asked, work, media_type, keep))
        self._works[task] = key_id
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _check_room(self, key_id: str, rate: Rate | None) -> None:
        """Whoever hangs up gives up Serve's place, and its question is still here: there must be
        an end to it. And others must have places, whatever one key asks."""
        most = self.config.bounds.requests_at_a_time
        if self.config.keys is not None:
            most = max(1, int(most * SHARE_OF_A_KEY))
        if list(self._works.values()).count(key_id) >= most:
            raise Problem(
                429,
                "too_many_at_a_time",
                f"questions of a key must be at most {most} at a time, and so many are being "
                "answered",
                1.0,
                rate,
            )

    async def finish(self) -> None:
        """Wait until whatever was begun is settled or given back, for a time."""
        if self._works:
            await asyncio.wait(list(self._works), timeout=LAST_WORKS_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._works[task]
        if not task.cancelled():
            task.exception()  # is told to whoever waits, if anybody still does

    async def _answered(
        self,
        admitted: Admitted,
        asked: Asked,
        work: Callable[[], Awaitable[bytes]],
        media_type: str,
        keep: bool,
    ) -> Response:
        caller = admitted.caller
        asked = replace(asked, attempt=secrets.token_hex(8))
        try:
            begun = await self.metered(self.meter.begin_for, caller.key_id, asked, time.time())
        except BaseException:
            # It may have begun, and nobody would end it for as long as this process lives.
            self.given_up.append(asked.attempt)
            raise
        if isinstance(begun, Refusal):
            raise Problem.of(begun)
        if isinstance(begun, Replayed):
            return await self._replayed(begun, admitted.rate)
        body, balance = await self._work(
            begun, asked, caller.name, work, media_type if keep else None
        )
        headers = told(balance, asked.pairs, admitted.rate)
        return Response(body, media_type=media_type, headers=headers)

    async def _work(
        self,
        begun: Begun,
        asked: Asked,
        key_name: str,
        work: Callable[[], Awaitable[bytes]],
        kept_as: str | None,
    ) -> tuple[bytes, Balance]:
        name = f"{begun.caller.key_id}/{begun.request_id}"  # one folder would hold millions
        stored = None if kept_as is None else Stored(name, kept_as, asked.pairs)
        try:
            body = await work()
            if stored is not None:
                await asyncio.to_thread(_write, self.answers / name, body)
            balance = await self.metered(
                self.meter.settle, begun.request_id, asked.pairs, stored, time.time()
            )
        except BaseException as error:
            try:
                await self.metered(self.meter.refund, begun.request_id, time.time())
            except Problem:  # with one of the next beats, then
                self.given_up.append(asked.attempt)
            raise problem_of(error) from error
        self.metrics.charged(key_name, asked.route, asked.pairs)
        return body, balance

    async def _replayed(self, replayed: Replayed, rate: Rate | None) -> Response:
        answer = replayed.answer
        try:
            body = await asyncio.to_thread((self.answers / answer.file).read_bytes)
        except FileNotFoundError:
            raise Problem(
                410, "answer_gone", "this question was answered, and its answer was deleted"
            ) from None
        headers = told(replayed.balance, answer.pairs, rate)
        headers["Idempotency-Replayed"] = "true"
        return Response(body, media_type=answer.media_type, headers=headers)


def told(balance: Balance, pairs: int, rate: Rate | None) -> dict[str, str]:
    """Headers about what was charged, and what is left."""
    headers = {"X-Craft-Spent": str(pairs)}
    if balance.remaining is not None:
        headers["X-Craft-Remaining"] = str(balance.remaining)
    return {**headers, **rate_headers(rate)}


def problem_of(error: BaseException) -> BaseException:
    """How an error is told; one that nobody has foreseen stays what it is."""
    if isinstance(error, NotGivenError):
        return Problem(403, "not_given", str(error))
    if isinstance(error, DataError):
        return Problem(422, "bad_image", str(error))
    if isinstance(error, OracleError):
        return Problem(422, "refused", str(error))
    if isinstance(error, (RunFailedError, OSError)):
        logger.error("a question was not answered: %s", error)
        return Problem(
            503, "not_answered", "the model could not answer now; nothing was charged", TRY_AGAIN_S
        )
    return error


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(body)
    partial.replace(path)
