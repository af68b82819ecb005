"""Keeps a pool's replicas as the cluster allows: starts, admits, ends. Thin: what becomes of a seat
`seats` decides, which seats there are `membership`, and how many `demand`."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import PoolError, last_words
from craft_ray.pool.address import Failed, PoolAddress, Refused, Reply
from craft_ray.pool.cluster import ActorView, cluster_nodes, view_of
from craft_ray.pool.demand import Demand
from craft_ray.pool.membership import PoolSize, node_seats, numbered_seats
from craft_ray.pool.replica import AHEAD, CONTROL, OracleFactory, OracleReplica, ReplicaStats
from craft_ray.pool.seats import Order, Seat, Sight, State, next_step

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
TIMEOUT_S = 30.0
"""Of the registry, which runs beside the keeper."""


CLOSING_S = 6.0
"""For an oracle whose factory says `must_close`, to keep what it has under way: an endpoint's gate
awaits answers that may be billed for 5 s."""
ASKS_IN_A_TIMEOUT = 10
"""How often in `chunk_timeout_s` a replica is asked whether it gets on."""


@dataclass
class _Replica:
    """An actor.

    Attributes:
        name: of it.
        actor: its handle.
        loading: reference to the reply that it has loaded the model.
        placed_s: before then it had no node.
        asked: reference to its word on whether it gets on, as long as that has not come.
        asked_s: when it was last asked for it.
    """

    name: str
    actor: Any
    loading: Any
    placed_s: float
    asked: Any = None
    asked_s: float = float("-inf")


class PoolKeeper:
    """Owns the replicas of one pool.

    Args:
        address: of the registry, which runs already.
        registry: its handle.
        make_oracle: loads the model in a replica.
        config: resources of a replica.
        size: how many, and on what.
    """

    def __init__(
        self,
        address: PoolAddress,
        registry: Any,
        make_oracle: OracleFactory,
        config: PoolConfig,
        size: PoolSize,
    ) -> None:
        self._address = address
        self._registry = registry
        self._make_oracle = make_oracle
        self._config = config
        self._size = size
        self._demand: Demand | None = None
        if size.max_replicas is not None:
            self._demand = Demand(config.min_replicas, size.max_replicas, config.give_back_after_s)
        self._seats: dict[str, Seat] = {}
        self._num_started = 0
        self._published: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pool-keeper", daemon=True)

    def start(self) -> None:
        """Start what has a place; waits for nothing."""
        self._deadline = time.monotonic() + self._config.start_timeout_s
        self.look()

    def wait_until_ready(self) -> None:
        """Wait until all replicas that have a place have loaded the model, and keep them from then
        on.

        Raises:
            OracleError: the model cannot be loaded.
            PoolError: a replica died while loading, or none was ready in `start_timeout_s`.
        """
        while True:
            for error in self.look():
                raise error
            seats = self._seats.values()
            loading = [seat.replica.loading for seat in seats if seat.state is State.LOADING]
            if self._published and not loading:
                break
            if time.monotonic() > self._deadline:
                raise PoolError(
                    f"pool: {len(self._published)} of {len(self._seats)} replicas were ready after "
                    f"start_timeout_s={self._config.start_timeout_s:g}; each asks for "
                    f"{self._config.cpus_per_replica:g} CPU and {self._size.gpus_per_replica:g} "
                    f"GPU, and the cluster has {ray.cluster_resources()}"
                )
            if loading:
                ray.wait(loading, num_returns=1, timeout=LOOK_EVERY_S)
            else:
                time.sleep(LOOK_EVERY_S)
        self._thread.start()

    def stop(self) -> None:
        """End all replicas."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        actors = [seat.replica.actor for seat in self._seats.values() if seat.replica is not None]
        if getattr(self._make_oracle, "must_close", False):
            with suppress(RayError):  # one that is dead has nothing under way
                closing = [actor.close.remote() for actor in actors]
                ray.wait(closing, num_returns=len(closing), timeout=CLOSING_S)
        for actor in actors:
            ray.kill(actor)

    def stats(self, timeout_s: float) -> dict[str, ReplicaStats]:
        """What each serving replica has done; one that does not answer in time is left out."""
        asked = {
            seat.replica.actor.stats.remote(): name
            for name, seat in sorted(self._seats.items())
            if seat.state is State.SERVING
        }
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
        result = {}
        for reference in ready:
            with suppress(RayError):
                result[asked[reference]] = ray.get(reference)
        return result

    def look(self) -> list[Exception]:
        """Follow the cluster once. Gives why replicas could not load the model."""
        errors: list[Exception] = []
        actors = {
            name: view_of(seat.replica.actor)
            for name, seat in self._seats.items()
            if seat.replica is not None
        }
        desired = self._desired(actors)
        now_s = time.monotonic()
        for name in sorted({*self._seats, *desired}):
            before = self._seats.get(name)
            sight = Sight.NOTHING_NEW
            if before is not None and before.replica is not None:
                sight = self._sight(name, before, actors[name], errors)
            after, order = next_step(before, sight, now_s, desired=name in desired)
            if order is Order.END and before is not None:
                ray.kill(before.replica.actor)
            if order is Order.START and after is not None:
                after = replace(after, replica=self._start_replica(name, desired[name]))
            if after is None:
                self._seats.pop(name, None)
            else:
                self._seats[name] = after
        self._publish()
        return errors

    def _keep(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self._follow_demand()
                for error in self.look():
                    logger.error("a replica is not used, and tried again later: %s", error)
            except ActorDiedError as error:  # replicas say so by other ways: `_sight`
                logger.error("the pool has lost its registry, and ends: %s", last_words(error))
                return
            except Exception:  # the run goes on with the replicas that there are
                logger.exception("the pool's members could not be brought up to date")

    def _follow_demand(self) -> None:
        if self._demand is not None:
            chunk_seconds = ray.get(self._registry.chunk_seconds.remote(), timeout=TIMEOUT_S)
            # One loss is mended at once; two in a row say that something is wrong there.
            failing = sum(seat.failures > 1 for seat in self._seats.values())
            self._demand.observe(
                chunk_seconds, len(self._published), time.monotonic(), failing=failing
            )

    def _desired(self, actors: dict[str, ActorView]) -> dict[str, str | None]:
        """Seat -> the node it belongs to; None: wherever Ray finds room, or its autoscaler makes
        some."""
        nodes = cluster_nodes()
        wanted = self._size.replicas if self._demand is None else self._demand.wanted
        if wanted is None:
            return dict(node_seats(self._size, nodes))
        present = {name: actors[name].node_id if name in actors else None for name in self._seats}
        draining = {node.node_id for node in nodes if node.draining}
        return dict.fromkeys(numbered_seats(wanted, present, draining))

    def _start_replica(self, seat: str, node_id: str | None) -> _Replica:
        # A name is used once: whoever has a handle of the one before would ask a dead replica.
        self._num_started += 1
        name = f"{self._address.registry}/{seat}/{self._num_started}"
        # An autoscaled pool keeps to few nodes, so that others can be given back.
        anywhere = "SPREAD" if self._demand is None else "DEFAULT"
        place = NodeAffinitySchedulingStrategy(node_id, soft=False) if node_id else anywhere
        replica_class: Any = ray.remote(concurrency_groups={CONTROL: 1, AHEAD: 1})(OracleReplica)
        actor = replica_class.options(
            name=name,
            namespace=self._address.namespace,
            num_cpus=self._config.cpus_per_replica,
            num_gpus=self._size.gpus_per_replica,
            scheduling_strategy=place,
            # A lost one is replaced here: Ray restarts no actor whose constructor has failed once,
            # and would repeat a deadly request.
            max_restarts=0,
            max_task_retries=0,
            # Ray would keep the history of every chunk, 800 MB an hour of them (benchmarks.soak).
            enable_task_events=False,
        ).remote(self._make_oracle, name, self._address.registry)
        return _Replica(name, actor, actor.load.remote(), time.monotonic())

    def _sight(self, name: str, seat: Seat, actor: ActorView, errors: list[Exception]) -> Sight:
        if seat.state is not State.LOADING:
            if actor.is_dead:
                logger.warning("%s was lost; the others answer", name)
                return Sight.LOST
            return Sight.LOST if self._is_stuck(name, seat.replica) else Sight.NOTHING_NEW
        if not ray.wait([seat.replica.loading], timeout=0)[0]:
            if actor.node_id is None:  # an autoscaler may have to bring a node
                seat.replica.placed_s = time.monotonic()
            if time.monotonic() - seat.replica.placed_s < self._config.start_timeout_s:
                return Sight.NOTHING_NEW
            errors.append(
                PoolError(
                    "a replica has not loaded the model in "
                    f"pool.start_timeout_s={self._config.start_timeout_s:g}"
                )
            )
            return Sight.LOST
        try:
            reply: Reply = ray.get(seat.replica.loading)
        except RayError as error:
            reply = Failed(last_words(error), may_pass=True)
        if isinstance(reply, Refused):
            errors.append(reply.error())
        elif isinstance(reply, Failed):
            errors.append(PoolError(f"a replica could not load the model: {reply.message}"))
        else:
            return Sight.LOADED
        return Sight.LOST

    def _is_stuck(self, name: str, replica: _Replica) -> bool:
        """Whether it has not got on for `chunk_timeout_s`: what it has cannot be answered by it,
        and with whoever waits for it a whole query would hang."""
        now_s, timeout_s = time.monotonic(), self._config.chunk_timeout_s
        if replica.asked is None:
            if now_s - replica.asked_s > timeout_s / ASKS_IN_A_TIMEOUT:
                replica.asked, replica.asked_s = replica.actor.stuck_s.remote(), now_s
            return False
        stuck_s = now_s - replica.asked_s  # if it says nothing
        if ray.wait([replica.asked], timeout=0)[0]:
            with suppress(RayError):  # it has died; the next look will see that
                stuck_s = ray.get(replica.asked)
            replica.asked = None
        if stuck_s < timeout_s:
            return False
        logger.error(
            "%s has not got on for pool.chunk_timeout_s=%g s: it is ended, and started again",
            *(name, timeout_s),
        )
        return True

    def _publish(self) -> None:
        members = [
            seat.replica.name for seat in self._seats.values() if seat.state is State.SERVING
        ]
        if members != self._published:
            ray.get(self._registry.set_members.remote(members), timeout=TIMEOUT_S)
            self._published = members
