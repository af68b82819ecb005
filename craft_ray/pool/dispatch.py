"""Sending the chunks of a query to a pool's replicas, and waiting for the answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import PoolError, last_words
from craft_ray.oracle.contract import OracleDescription
from craft_ray.pool.address import Failed, PoolAddress, Refused, Reply
from craft_ray.pool.answers import BadAnswerError
from craft_ray.pool.demand import LoadMeter
from craft_ray.pool.metrics import ClientMetrics
from craft_ray.pool.scheduler import Assignment, Chunk, ChunkScheduler, rank_replicas

MEMBERS_VALID_S = 1.0
"""How long the list of replicas is believed."""

Submit = Callable[[Any, Chunk], Any]
Receive = Callable[[Chunk, Any], None]


_InFlight = dict[Any, tuple[Assignment, float]]
"""Reference to a reply -> the chunk at its replica, and when it was sent."""


class SharedLoad:
    """Chunks at each replica, of all clients that share this: each of them alone would send its
    only chunk to the replica that all of them prefer."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.chunks: Counter[str] = Counter()

    def taken_back(self, replica: str) -> None:
        """A chunk there is answered, or lost."""
        with self.lock:
            self.chunks[replica] -= 1
            if self.chunks[replica] <= 0:  # names are used once, and replicas come and go
                del self.chunks[replica]


class Dispatcher:
    """One client's connection to a pool. Several threads may use it.

    Args:
        address: the pool.
        config: back-pressure, attempts, and how long a pool may be without replicas.
        load: shared with other clients of this process; None: this one is alone.

    Raises:
        PoolError: the pool is not running.
    """

    def __init__(
        self, address: PoolAddress, config: PoolConfig, load: SharedLoad | None = None
    ) -> None:
        self._config = config
        self._address = address
        self._shared = load or SharedLoad()
        try:
            self._registry = ray.get_actor(address.registry, namespace=address.namespace)
        except ValueError as error:
            raise PoolError(f"the oracle pool is not running: {error}") from error
        self._description: OracleDescription | None = None
        self.metrics = ClientMetrics()
        self._load = LoadMeter()
        self._lock = threading.Lock()
        """Of what is known of the members."""
        self._is_given_up = False
        self._replicas: dict[str, Any] = {}
        self._dead: set[str] = set()
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
        replicas = self._members()
        ranked = rank_replicas(list(replicas), key)
        return replicas[ranked[0]] if ranked else None

    def members(self) -> list[str]:
        """Names of the replicas.

        Raises:
            PoolError: as `of_registry`.
        """
        return list(self._members())

    def give_up(self) -> None:
        """Whoever waits for answers, in any thread, waits no more, and has a PoolError; so has who
        asks later: an interrupted thread may be between two questions."""
        self._is_given_up = True

    def ask(self, chunks: Sequence[Chunk], key: str, submit: Submit, receive: Receive) -> None:
        """Have every chunk answered once.

        Args:
            chunks: to be answered.
            key: decides which replica is preferred.
            submit: sends a chunk to a replica; gives the reference to its reply.
            receive: takes an answer in.

        Raises:
            OracleError: the oracle refuses the question; it is not retried.
            PoolError: a chunk was lost more often than `max_attempts`, there was no replica for
                `start_timeout_s`, or questions were given up.
        """
        members = list(self._members())
        scheduler = ChunkScheduler(
            chunks,
            rank_replicas(members, key),
            self._config.max_chunks_in_flight,
            self._config.max_attempts,
        )
        in_flight: _InFlight = {}
        unsent: list[Assignment] = []
        last_seen_s = since_s = time.monotonic()
        try:
            while waiting := scheduler.num_unfinished:
                if self._is_given_up:
                    raise PoolError("the questions were given up")
                replicas, now_s = self._members(), time.monotonic()
                if list(replicas) != members:
                    members = list(replicas)
                    scheduler.set_replicas(rank_replicas(members, key), now_s)
                if members:
                    last_seen_s = now_s
                elif now_s - last_seen_s > self._config.start_timeout_s:
                    raise PoolError(f"the pool has had no replica for {now_s - last_seen_s:.0f} s")
                unsent = self._assign(scheduler, in_flight, now_s)
                while unsent:
                    reference = submit(replicas[unsent[0].replica], unsent[0].chunk)
                    in_flight[reference] = (unsent.pop(0), now_s)
                self._collect(scheduler, in_flight, receive)
                until_s = time.monotonic()
                self._load.waited(waiting, until_s - since_s)
                since_s = until_s
        finally:
            for assignment in unsent:  # what sends them has raised
                self._shared.taken_back(assignment.replica)
            for reference, (assignment, _) in in_flight.items():  # nobody waits for them any more
                self._shared.taken_back(assignment.replica)
                ray.cancel(reference)
            self.metrics.record_retries(scheduler.retries)

    def _assign(
        self, scheduler: ChunkScheduler, in_flight: _InFlight, now_s: float
    ) -> list[Assignment]:
        own = Counter(assignment.replica for assignment, _ in in_flight.values())
        with self._shared.lock:
            assigned = scheduler.assign(now_s, self._shared.chunks - own)
            self._shared.chunks.update(assignment.replica for assignment in assigned)
        return assigned

    def _members(self) -> dict[str, Any]:
        """The replicas of the pool by name, read again now and then: they come and go."""
        with self._lock:
            if time.monotonic() - self._members_read_s > MEMBERS_VALID_S:
                replicas = {}
                listed = self.of_registry("members", self._load.take())
                # Whoever has just died is still on the list. A name is used once.
                self._dead &= set(listed)
                for name in listed:
                    if name in self._dead:
                        continue
                    with suppress(ValueError):  # it died, and nobody here has asked it yet
                        replicas[name] = self._replicas.get(name) or ray.get_actor(
                            name, namespace=self._address.namespace
                        )
                self._replicas = replicas
                self._members_read_s = time.monotonic()
            return self._replicas

    def _collect(self, scheduler: ChunkScheduler, in_flight: _InFlight, receive: Receive) -> None:
        """Wait for the next answer or loss, the end of a replica's rest, or other members."""
        events_s = [self._members_read_s + MEMBERS_VALID_S]
        if (wakes_at_s := scheduler.wakes_at()) is not None:
            events_s.append(wakes_at_s)
        patience_s = max(min(events_s) - time.monotonic(), 0.0)
        if not in_flight:
            time.sleep(patience_s)
            return
        ready: list[Any] = []
        if ray.wait(list(in_flight), num_returns=1, timeout=patience_s)[0]:
            # Others may have come meanwhile: one look for all of them.
            ready, _ = ray.wait(list(in_flight), num_returns=len(in_flight), timeout=0)
        for reference in ready:
            assignment, sent_s = in_flight.pop(reference)
            self._shared.taken_back(assignment.replica)
            self._take(reference, assignment, sent_s, scheduler, receive)
        now_s = time.monotonic()
        for reference, (assignment, _) in list(in_flight.items()):
            if scheduler.is_overdue(assignment, now_s):
                del in_flight[reference]
                self._shared.taken_back(assignment.replica)
                scheduler.fail(assignment, "it is no member of the pool any more", now_s)

    def _take(
        self,
        reference: Any,
        assignment: Assignment,
        submitted_s: float,
        scheduler: ChunkScheduler,
        receive: Receive,
    ) -> None:
        now_s = time.monotonic()
        try:
            reply: Reply = ray.get(reference)
        except RayError as error:  # the replica, its node or the reply on the way was lost
            scheduler.fail(assignment, last_words(error), now_s)
            with self._lock:
                if isinstance(error, ActorDiedError):
                    self._dead.add(assignment.replica)
                self._members_read_s = float("-inf")
            return
        if isinstance(reply, Refused):
            raise reply.error()
        if isinstance(reply, Failed):
            scheduler.fail(assignment, reply.message, now_s, may_pass=reply.may_pass)
            return
        if reply.oracle_id != self.describe().oracle_id:
            scheduler.fail(assignment, f"another model answered: {reply.oracle_id[:12]}", now_s)
            return
        try:
            receive(assignment.chunk, reply.value)
        except BadAnswerError as error:
            scheduler.fail(assignment, str(error), now_s)
            return
        scheduler.complete(assignment)
        chunk = assignment.chunk
        if (num_candidates := chunk.stop - chunk.start) and chunk.block == 0:
            wait_s = now_s - submitted_s - reply.service_s
            capacity = self._config.candidates_per_chunk
            self.metrics.record(num_candidates, capacity, reply.service_s, wait_s)
