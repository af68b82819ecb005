"""Sending the chunks of a query to a pool's replicas, and waiting for the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import OracleError, PoolError, last_words
from craft_ray.oracle.contract import OracleDescription
from craft_ray.pool.address import Answered, Failed, PoolAddress, Refused, Reply
from craft_ray.pool.answers import BadAnswerError
from craft_ray.pool.demand import LoadMeter
from craft_ray.pool.metrics import ClientMetrics
from craft_ray.pool.scheduler import Assignment, Chunk, ChunkScheduler, rank_replicas

MEMBERS_VALID_S = 1.0
"""How long the list of replicas is believed."""
WORD_WITHIN_S = 10.0
"""A replica that lives says so in this time, also while its model works."""

Submit = Callable[[Any, Chunk], Any]
Receive = Callable[[Chunk, Any], None]


@dataclass
class _Flight:
    """A chunk at a replica.

    Attributes:
        assignment: which, and where.
        submitted_s: when it was sent.
        doubted_from_s: when to ask whether the replica still gets on.
        given_up: the chunk has been noted as lost; an answer is still welcome.
    """

    assignment: Assignment
    submitted_s: float
    doubted_from_s: float
    given_up: bool = False


class Dispatcher:
    """One client's connection to a pool.

    Args:
        address: the pool.
        config: back-pressure, attempts and timeouts.

    Raises:
        PoolError: the pool is not running.
    """

    def __init__(self, address: PoolAddress, config: PoolConfig) -> None:
        self._config = config
        self._address = address
        try:
            self._registry = ray.get_actor(address.registry, namespace=address.namespace)
        except ValueError as error:
            raise PoolError(f"the oracle pool is not running: {error}") from error
        self._description: OracleDescription | None = None
        self.metrics = ClientMetrics()
        self._load = LoadMeter()
        self._replicas: dict[str, Any] = {}
        self._members_read_s = float("-inf")

    def describe(self) -> OracleDescription:
        """The pool's description.

        Raises:
            PoolError: no replica has loaded the model yet, or as `of_registry`.
        """
        if self._description is None:
            self._description = self.of_registry("describe")
        if self._description is None:
            raise PoolError("the oracle pool is not ready: no replica has loaded the model")
        return self._description

    def of_registry(self, method: str, *words: Any) -> Any:
        """What the pool's registry answers.

        Raises:
            PoolError: it does not, within `start_timeout_s`. It holds what nobody else has: the
                pool's images.
        """
        timeout_s = self._config.start_timeout_s
        try:
            return ray.get(getattr(self._registry, method).remote(*words), timeout=timeout_s)
        except GetTimeoutError as error:
            raise PoolError(
                f"the pool's registry has not answered for {timeout_s:g} s: the node of the driver "
                "is lost or overloaded"
            ) from error
        except RayError as error:
            raise PoolError(
                f"the pool has ended, or its registry was lost: {last_words(error)}"
            ) from error

    def preferred(self, key: str) -> Any:
        """The replica that is asked first about `key`, or None without members.

        Raises:
            PoolError: as `of_registry`.
        """
        members = rank_replicas(self._members(), key)
        return self._replicas[members[0]] if members else None

    def ask(self, chunks: Sequence[Chunk], key: str, submit: Submit, receive: Receive) -> None:
        """Have every chunk answered once.

        Args:
            chunks: to be answered.
            key: decides which replica is preferred.
            submit: sends a chunk to a replica; gives the reference to its reply.
            receive: takes an answer in.

        Raises:
            OracleError: the oracle refuses the question; it is not retried.
            PoolError: a chunk was lost more often than `max_attempts`, or there was no replica for
                `start_timeout_s`.
        """
        query = _Query(chunks, rank_replicas(self._members(), key), self._config, receive)
        members = list(self._replicas)
        last_seen_s = time.monotonic()
        self._load.start(last_seen_s)
        try:
            while not query.scheduler.finished:
                present, now_s = self._members(), time.monotonic()
                if present != members:
                    members = present
                    query.scheduler.set_replicas(rank_replicas(members, key), now_s)
                if members:
                    last_seen_s = now_s
                elif now_s - last_seen_s > self._config.start_timeout_s:
                    raise PoolError(f"the pool has had no replica for {now_s - last_seen_s:.0f} s")
                for assignment in query.scheduler.assign(now_s):
                    reference = submit(self._replicas[assignment.replica], assignment.chunk)
                    query.sent(reference, assignment, now_s)
                waiting = query.scheduler.num_unfinished
                self._collect(query)
                self._load.waited(waiting, time.monotonic())
        finally:
            query.cancel_rest()
            self.metrics.record_retries(query.scheduler.retries)

    def _members(self) -> list[str]:
        """The replicas of the pool, read again now and then: they come and go."""
        if time.monotonic() - self._members_read_s > MEMBERS_VALID_S:
            replicas = {}
            for name in self.of_registry("members", self._load.take()):
                # Whoever has just died is still on the list, and has no name any more.
                with suppress(ValueError):
                    replicas[name] = self._replicas.get(name) or ray.get_actor(
                        name, namespace=self._address.namespace
                    )
            self._replicas = replicas
            self._members_read_s = time.monotonic()
        return list(self._replicas)

    def _collect(self, query: _Query) -> None:
        """Wait for the next answer, loss, doubt, or the end of a replica's rest."""
        patience_s = query.next_event_s(self._members_read_s + MEMBERS_VALID_S) - time.monotonic()
        for reference, flight in query.arrived(max(patience_s, 0.0)):
            now_s = time.monotonic()
            try:
                reply: Reply = ray.get(reference)
            except RayError as error:  # the replica, its node or the reply on the way was lost
                query.lost(flight, last_words(error), now_s)
                # The replica may be gone for good: without it, its name is looked up again.
                self._replicas.pop(flight.assignment.replica, None)
                self._members_read_s = float("-inf")
                continue
            if isinstance(reply, Refused):
                raise OracleError(reply.message)
            if isinstance(reply, Failed):
                query.lost(flight, reply.message, now_s, may_pass=reply.may_pass)
            elif reply.oracle_id != self.describe().oracle_id:
                query.lost(flight, f"another model answered: {reply.oracle_id[:12]}", now_s)
            elif query.took(flight, reply, now_s):
                self._record(flight, reply, now_s)
        for flight in query.doubtful(time.monotonic()):
            self._look_after(query, flight)

    def _record(self, flight: _Flight, reply: Answered, now_s: float) -> None:
        chunk = flight.assignment.chunk
        if num_candidates := chunk.stop - chunk.start:
            wait_s = now_s - flight.submitted_s - reply.service_s
            capacity = self._config.candidates_per_chunk
            self.metrics.record(num_candidates, capacity, reply.service_s, wait_s)

    def _look_after(self, query: _Query, flight: _Flight) -> None:
        """Give a chunk up if its replica does not get on. In a queue it may wait as long as it
        takes, and so may the first question about many images, while they are encoded."""
        replica, now_s = flight.assignment.replica, time.monotonic()
        if query.scheduler.is_overdue(flight.assignment, now_s):
            query.lost(flight, "it is no member of the pool any more", now_s)
            return
        timeout_s = self._config.chunk_timeout_s
        stuck_s = 0.0
        if now_s >= flight.doubted_from_s and replica in self._replicas:
            try:
                asked = self._replicas[replica].stuck_s.remote()
                stuck_s = ray.get(asked, timeout=WORD_WITHIN_S)
            except RayError:
                stuck_s = timeout_s
        if stuck_s >= timeout_s:
            query.lost(flight, f"it has not got on for {timeout_s:g} s", time.monotonic())
        else:
            flight.doubted_from_s = time.monotonic() + timeout_s - stuck_s


class _Query:
    """Chunks on their way, in step with the scheduler."""

    def __init__(
        self, chunks: Sequence[Chunk], ranked: Sequence[str], config: PoolConfig, receive: Receive
    ) -> None:
        self.scheduler = ChunkScheduler(
            chunks, ranked, config.max_chunks_in_flight, config.max_attempts
        )
        self._timeout_s = config.chunk_timeout_s
        self._receive = receive
        self._flights: dict[Any, _Flight] = {}

    def sent(self, reference: Any, assignment: Assignment, now_s: float) -> None:
        """A chunk is on its way."""
        self._flights[reference] = _Flight(assignment, now_s, now_s + self._timeout_s)

    def next_event_s(self, latest_s: float) -> float:
        """When something is to be done even if no reply comes."""
        events = [flight.doubted_from_s for flight in self._flights.values() if not flight.given_up]
        wakes_at = self.scheduler.wakes_at()
        return min([latest_s, *events, *([] if wakes_at is None else [wakes_at])])

    def arrived(self, patience_s: float) -> list[tuple[Any, _Flight]]:
        """Wait for a reply; all that are there then."""
        if not self._flights:
            time.sleep(patience_s)
            return []
        if not ray.wait(list(self._flights), num_returns=1, timeout=patience_s)[0]:
            return []
        # Others may have come meanwhile: one look for all of them.
        ready, _ = ray.wait(list(self._flights), num_returns=len(self._flights), timeout=0)
        return [(reference, self._flights.pop(reference)) for reference in ready]

    def doubtful(self, now_s: float) -> list[_Flight]:
        """Those whose replica has gone, or is to be asked whether it gets on."""
        return [
            flight
            for flight in self._flights.values()
            if not flight.given_up
            and (
                now_s >= flight.doubted_from_s
                or self.scheduler.is_overdue(flight.assignment, now_s)
            )
        ]

    def lost(self, flight: _Flight, reason: str, now_s: float, *, may_pass: bool = True) -> None:
        """A chunk will not, or may not, be answered from there.

        Raises:
            PoolError: as `ChunkScheduler.fail`.
        """
        if self._is_first(flight) and not flight.given_up:
            flight.given_up = True
            self.scheduler.fail(flight.assignment, reason, now_s, may_pass=may_pass)

    def took(self, flight: _Flight, reply: Answered, now_s: float) -> bool:
        """Take an answer in; whether it was one, and the first."""
        chunk = flight.assignment.chunk
        if not self._is_first(flight):
            return False
        try:
            self._receive(chunk, reply.value)
        except BadAnswerError as error:
            self.lost(flight, str(error), now_s)
            return False
        if flight.given_up:
            self.scheduler.complete_late(flight.assignment)
        else:
            self.scheduler.complete(flight.assignment)
        for reference, other in list(self._flights.items()):
            if other.assignment.chunk == chunk:
                del self._flights[reference]
                ray.cancel(reference)
                if not other.given_up:
                    self.scheduler.withdraw(other.assignment)
        return True

    def _is_first(self, flight: _Flight) -> bool:
        """False if the same look has brought another answer to the chunk already."""
        if self.scheduler.is_open(flight.assignment.chunk):
            return True
        if not flight.given_up:
            self.scheduler.withdraw(flight.assignment)
        return False

    def cancel_rest(self) -> None:
        """Nobody waits for these any more: what is still in a queue is not served."""
        for reference in self._flights:
            ray.cancel(reference)
