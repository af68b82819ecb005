"""Which replicas a pool should have on a given cluster. Pure decisions: no Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from craft_ray.config.oracle import PoolConfig

CPUS_PER_CPU_REPLICA = 2
"""Each copy loads torch and encodes every image again; two threads of one copy do not."""
MAX_CPU_REPLICAS = 4
"""Of a node without GPUs: more copies of a model take memory and bring no speed."""

ALIVE = "ALIVE"
"""Ray's state of an actor that has loaded and not been lost since."""


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


def desired_members(
    size: PoolSize,
    nodes: Iterable[NodeView],
    wanted: int | None = None,
    present: Collection[str] = (),
) -> dict[str, str | None]:
    """Replica -> the node it belongs to (None: wherever Ray finds room).

    One a GPU, or its share; on nodes of a cluster without GPUs one for two CPUs, at most four. A
    name says node and seat, so the decision needs no memory: what is desired and absent is to be
    started, what is present and not desired is to go.

    Args:
        size: what the pool takes.
        nodes: of the cluster.
        wanted: no more than this; None for a replica on every seat.
        present: replicas that run. Nodes that hold most of them are filled first, so that others
            become empty and can be given back.
    """
    if size.replicas is not None:
        return {f"oracle-{index}": None for index in range(size.replicas)}
    seats = {
        f"oracle-{node.node_id[-12:]}-{seat}": node.node_id
        for node in nodes
        if not node.draining
        for seat in range(_seats(node, size.gpus_per_replica))
    }
    held = Counter(seats[name] for name in present if name in seats)
    order = sorted(seats, key=lambda name: (-held[seats[name]], seats[name], name not in present))
    return {name: seats[name] for name in order[:wanted]}


def num_replicas(size: PoolSize, nodes: Iterable[NodeView]) -> int:
    """How many replicas the pool has on these nodes; the most, where an autoscaler is asked."""
    return size.max_replicas or len(desired_members(size, nodes))


def to_start(desired: Mapping[str, str | None], present: Iterable[str]) -> list[str]:
    """Replicas that are missing, in a fixed order."""
    return sorted(desired.keys() - set(present))


def to_retire(desired: Mapping[str, str | None], present: Iterable[str]) -> list[str]:
    """Replicas that have no place any more, in a fixed order."""
    return sorted(set(present) - desired.keys())


def to_publish(serving: Collection[str], states: Mapping[str, str | None]) -> list[str]:
    """Replicas that questions may be sent to, in a fixed order: those that live.

    What is sent to one that restarts waits with it, for ever if no node has room for it.

    Args:
        serving: replicas that have loaded the model at least once.
        states: Ray's word on them. Who works for minutes is alive all the time, and of whom Ray
            says nothing is not doubted.
    """
    return sorted(name for name in serving if states.get(name) in (ALIVE, None))


def _seats(node: NodeView, gpus_per_replica: float) -> int:
    if gpus_per_replica:
        return int(node.num_gpus / gpus_per_replica)
    if node.num_cpus < 1:
        return 0
    return min(max(int(node.num_cpus) // CPUS_PER_CPU_REPLICA, 1), MAX_CPU_REPLICAS)
