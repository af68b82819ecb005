"""Keeps a pool's replicas as the cluster allows: starts, admits, retires. Thin: decisions are
`membership`'s."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from craft_ray.config.oracle import PoolConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.autoscaling import NodeRequest
from craft_ray.pool.demand import Demand
from craft_ray.pool.membership import (
    NodeView,
    PoolSize,
    desired_members,
    to_publish,
    to_retire,
    to_start,
)
from craft_ray.pool.replica import OracleFactory, OracleReplica, ReplicaStats

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
FAREWELL_S = 3.0
"""A retired replica still answers what clients send before they have read the new members."""
UNLIMITED = -1


def cluster_nodes() -> list[NodeView]:
    """The living nodes of the connected cluster."""
    # Ray has no public call that tells which nodes are draining.
    draining = ray._private.state.state.get_draining_nodes()
    return [
        NodeView(
            node_id=node["NodeID"],
            num_cpus=node["Resources"].get("CPU", 0.0),
            num_gpus=node["Resources"].get("GPU", 0.0),
            draining=node["NodeID"] in draining,
            accelerator=node["Labels"].get("ray.io/accelerator-type"),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def state_of(actor: Any) -> str | None:
    """Ray's word on an actor; None if it has none. The actor itself is not asked, so a busy one
    need not answer."""
    # The public twin in `ray.util.state` asks the dashboard, which a cluster may do without.
    state: str | None = ray._private.state.state.actor_table(actor._actor_id.hex()).get("State")
    return state


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
            bundle = {"CPU": config.cpus_per_replica, "GPU": size.gpus_per_replica}
            self._request = NodeRequest(address.registry, address.namespace, bundle)
        self._actors: dict[str, Any] = {}
        self._loading: dict[Any, str] = {}
        """Reference to a description that has not come yet -> replica."""
        self._serving: set[str] = set()
        """Have loaded the model; those of them that live are published."""
        self._published: list[str] = []
        self._leaving: list[tuple[Any, float]] = []
        """Retired actors, and when they may be ended."""
        self._failed: set[str] = set()
        self._oracle_id: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pool-keeper", daemon=True)

    def start(self) -> None:
        """Start what has a place; waits for nothing."""
        self._deadline = time.monotonic() + self._config.start_timeout_s
        self._start_missing(self._desired())

    def wait_until_ready(self) -> None:
        """Wait until all replicas that have a place have loaded the model, and keep them from then
        on.

        Raises:
            OracleError: the model cannot be loaded.
            PoolError: a replica died while loading, or none was ready in `start_timeout_s`.
        """
        while self._loading or not self._serving:
            if time.monotonic() > self._deadline:
                raise PoolError(
                    f"pool: {len(self._serving)} of {len(self._actors)} replicas were ready after "
                    f"start_timeout_s={self._config.start_timeout_s:g}; each asks for "
                    f"{self._config.cpus_per_replica:g} CPU and {self._size.gpus_per_replica:g} "
                    f"GPU, and the cluster has {ray.cluster_resources()}"
                )
            if not self._actors:
                time.sleep(LOOK_EVERY_S)
            if not self._actors or self._demand is not None:  # what is asked for may have come
                self._start_missing(self._desired())
            for error in self._admit_ready(wait_s=LOOK_EVERY_S):
                raise error
        self._publish()
        self._thread.start()

    def stop(self) -> None:
        """End all replicas."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._demand is not None:
            self._request.withdraw()
        for actor in [*self._actors.values(), *(actor for actor, _ in self._leaving)]:
            ray.kill(actor)

    def stats(self, timeout_s: float) -> dict[str, ReplicaStats]:
        """What each serving replica has done; one that does not answer in time is left out."""
        asked = {self._actors[name].stats.remote(): name for name in sorted(self._serving)}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
        result = {}
        for reference in ready:
            with suppress(RayError):
                result[asked[reference]] = ray.get(reference)
        return result

    def _keep(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # the run goes on with the replicas that there are
                logger.exception("the pool's members could not be brought up to date")

    def look(self) -> None:
        """Follow queries and cluster once."""
        if self._demand is not None:
            chunk_seconds = ray.get(self._registry.chunk_seconds.remote())
            self._demand.observe(chunk_seconds, len(self._serving), time.monotonic())
        desired = self._desired()
        self._start_missing(desired)
        self._retire_surplus(desired)
        for error in self._admit_ready(wait_s=0.0):
            logger.error("a new replica is not used: %s", error)
        self._publish()

    def _desired(self) -> dict[str, str | None]:
        wanted = None
        if self._demand is not None:
            wanted = self._demand.wanted
            self._request.renew(wanted)
        return desired_members(self._size, cluster_nodes(), wanted, self._actors)

    def _start_missing(self, desired: Mapping[str, str | None]) -> None:
        self._failed &= desired.keys()
        for seat in to_start(desired, {*self._actors, *self._failed}):
            actor = self._start_replica(seat, desired[seat])
            self._actors[seat] = actor
            self._loading[actor.describe.remote()] = seat

    def _start_replica(self, seat: str, node_id: str | None) -> Any:
        name = f"{self._address.registry}/{seat}"
        replica_class: Any = ray.remote(OracleReplica)
        place = NodeAffinitySchedulingStrategy(node_id, soft=False) if node_id else "SPREAD"
        return replica_class.options(
            name=name,
            namespace=self._address.namespace,
            num_cpus=self._config.cpus_per_replica,
            num_gpus=self._size.gpus_per_replica,
            scheduling_strategy=place,
            max_restarts=UNLIMITED,
            # The client retries on another replica; Ray would repeat a deadly request here.
            max_task_retries=0,
            # Ray would keep the history of every chunk, 800 MB an hour of them (benchmarks.soak).
            enable_task_events=False,
        ).remote(self._make_oracle, name, self._address.registry)

    def _admit_ready(self, wait_s: float) -> Iterator[Exception]:
        """Replicas that have loaded the model become members; yields why others did not."""
        if not self._loading:
            return
        ready, _ = ray.wait(list(self._loading), num_returns=1, timeout=wait_s)
        for reference in ready:
            seat = self._loading.pop(reference)
            try:
                description = ray.get(reference)
                if self._oracle_id not in (None, description.oracle_id):
                    raise PoolError("all replicas must serve the same model, but their ids differ")
            except (RayError, PoolError) as error:
                self._failed.add(seat)
                ray.kill(self._actors.pop(seat))
                yield _start_error(error)
                continue
            if self._oracle_id is None:
                self._oracle_id = description.oracle_id
                ray.get(self._registry.set_description.remote(description))
            self._serving.add(seat)

    def _retire_surplus(self, desired: Mapping[str, str | None]) -> None:
        now_s = time.monotonic()
        surplus = to_retire(desired, self._actors)
        for seat in surplus:
            self._serving.discard(seat)
            self._loading = {ref: name for ref, name in self._loading.items() if name != seat}
            self._leaving.append((self._actors.pop(seat), now_s + FAREWELL_S))
        for actor, until in self._leaving:
            if until <= now_s:
                ray.kill(actor)
        self._leaving = [(actor, until) for actor, until in self._leaving if until > now_s]

    def _publish(self) -> None:
        living = to_publish(
            self._serving, {seat: state_of(self._actors[seat]) for seat in self._serving}
        )
        if living != self._published:
            if lost := sorted(self._serving - set(living)):
                logger.warning("replicas are not asked until they are back: %s", ", ".join(lost))
            members = [f"{self._address.registry}/{seat}" for seat in living]
            ray.get(self._registry.set_members.remote(members))
            self._published = living


def _start_error(error: Exception) -> Exception:
    """A model that cannot be loaded is the user's to mend; anything else is the pool's."""
    text = str(error)
    marker = f"{OracleError.__name__}: "
    if marker in text:
        return OracleError(text.rsplit(marker, 1)[1].splitlines()[0])
    return PoolError(f"a replica died while it loaded the model: {text}")
