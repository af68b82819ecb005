"""Which replicas a pool should have on a given cluster. Pure decisions: no Ray."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from craft_ray.config.oracle import PoolConfig

CPUS_PER_CPU_REPLICA = 2
"""Each copy loads torch and encodes every image again; two threads of one copy do not."""
MAX_CPU_REPLICAS = 4
"""Of a node without GPUs: more copies of a model take memory and bring no speed."""


@dataclass(frozen=True)
class NodeView:
    """A node of the cluster, as far as a pool cares."""

    node_id: str
    num_cpus: float
    num_gpus: float = 0.0
    draining: bool = False
    """It will leave: what runs there may finish, nothing new is sent."""
    accelerator: str | None = None
    """Ray's name of the kind of GPU, if it knows it."""


@dataclass(frozen=True)
class PoolSize:
    """What a pool takes of the cluster.

    Attributes:
        replicas: a fixed number, which Ray places; None follows the cluster's nodes.
        max_replicas: what an autoscaler may be asked for; None asks for nothing.
        gpus_per_replica: 0 for replicas on the CPU.
        threads_per_replica: CPU threads.
    """

    replicas: int | None
    gpus_per_replica: float
    threads_per_replica: int
    max_replicas: int | None = None

    @property
    def device(self) -> str:
        """torch device of a replica."""
        return "cuda" if self.gpus_per_replica else "cpu"


ONE_GATE = PoolSize(replicas=1, gpus_per_replica=0.0, threads_per_replica=1)
"""Of the pool in front of an endpoint."""


def decide_size(config: PoolConfig, nodes: Sequence[NodeView]) -> PoolSize:
    """Resolve what is `auto`, but for the number of replicas, which follows the cluster.

    More may be asked for than there is: an autoscaling cluster brings it.
    """
    gpus_per_replica = config.gpus_per_replica
    if gpus_per_replica == "auto":
        gpus_per_replica = 1.0 if any(node.num_gpus for node in nodes) else 0.0
    replicas = None if config.replicas == "auto" else config.replicas
    if config.threads_per_replica != "auto":
        return PoolSize(replicas, gpus_per_replica, config.threads_per_replica, config.max_replicas)
    if config.max_replicas is not None:
        return PoolSize(replicas, gpus_per_replica, 1, config.max_replicas)
    # The number of replicas that the user sets has no say: sums of another number of threads round
    # differently, and answers must not depend on how many replicas there are.
    shares = [
        int(node.num_cpus) // seats for node in nodes if (seats := _seats(node, gpus_per_replica))
    ]
    return PoolSize(replicas, gpus_per_replica, max(1, min(shares, default=1)))


def node_seats(size: PoolSize, nodes: Iterable[NodeView]) -> dict[str, str]:
    """Seat -> the node it belongs to, where a pool follows the cluster.

    One a GPU, or its share; on nodes of a cluster without GPUs one for two CPUs, at most four. A
    name says node and number, so the decision needs no memory.
    """
    return {
        f"oracle-{node.node_id[-12:]}-{number}": node.node_id
        for node in nodes
        if not node.draining
        for number in range(_seats(node, size.gpus_per_replica))
    }


def numbered_seats(
    wanted: int, present: Mapping[str, str | None], draining: Collection[str] = ()
) -> list[str]:
    """So many seats that Ray places: it asks its autoscaler for a node where it finds no room.

    Args:
        wanted: how many.
        present: seats that there are -> the node of their replica; None before Ray has placed it.
            Those on nodes that hold most are kept first, so that others become empty and can be
            given back.
        draining: nodes that will go; what is there has to move.
    """
    staying = {seat: node for seat, node in present.items() if node not in draining}
    held = Counter(staying.values())

    def last_to_go(seat: str) -> tuple[bool, int, str, str]:
        node = staying[seat]
        return node is None, -held[node], node or "", seat

    kept = sorted(staying, key=last_to_go)
    free = (f"oracle-{number}" for number in itertools.count())
    unused = (seat for seat in free if seat not in present)
    return [*kept[:wanted], *itertools.islice(unused, max(wanted - len(kept), 0))]


def num_replicas(size: PoolSize, nodes: Iterable[NodeView]) -> int:
    """How many replicas the pool has on these nodes; the most, where an autoscaler is asked."""
    return size.replicas or size.max_replicas or len(node_seats(size, nodes))


def _seats(node: NodeView, gpus_per_replica: float) -> int:
    if gpus_per_replica >= 1:
        return int(node.num_gpus / gpus_per_replica)
    if gpus_per_replica:  # a share is one of a single GPU
        return int(node.num_gpus) * int(1 / gpus_per_replica)
    if node.num_cpus < 1:
        return 0
    return min(max(int(node.num_cpus) // CPUS_PER_CPU_REPLICA, 1), MAX_CPU_REPLICAS)
