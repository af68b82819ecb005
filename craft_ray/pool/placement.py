"""Where trials run: beside the GPUs, not on them. A pure decision: no Ray.

Ray's placement groups, in which trials live, do not avoid GPUs (measured: they chose nodes with one
over a node without). A trial there takes CPUs from a replica, and keeps its node from being given
back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from craft_ray.config.run import RunConfig
from craft_ray.pool.membership import NodeView, decide_size, num_replicas


@dataclass(frozen=True)
class TrialPlace:
    """The nodes that trials may use.

    Attributes:
        selector: Ray's label selector for them; empty if any node will do.
        num_cpus: of all these nodes.
        num_replicas: of the pool, whose CPUs count on these nodes.
    """

    selector: dict[str, str]
    num_cpus: float
    num_replicas: int


def trial_nodes(config: RunConfig, nodes: Sequence[NodeView]) -> list[NodeView]:
    """Those without a GPU, if the cluster has both kinds and a trial fits there; else all."""
    without = [node for node in nodes if not node.num_gpus]
    needed = config.ray.cpus_per_trial + config.ray.cpus_per_worker
    fits = max((node.num_cpus for node in without), default=0.0) >= needed
    return without if fits else list(nodes)


def place_trials(config: RunConfig, nodes: Sequence[NodeView]) -> TrialPlace:
    """On `trial_nodes`."""
    size = decide_size(config.pool, nodes)
    replicas = num_replicas(size, nodes)
    chosen = trial_nodes(config, nodes)
    if len(chosen) == len(nodes):
        return TrialPlace({}, sum(node.num_cpus for node in nodes), replicas)
    # By type, so that nodes that join later are left alone as well; by name where Ray knows none.
    with_gpu = [node for node in nodes if node.num_gpus]
    refused = {
        "ray.io/accelerator-type": {node.accelerator for node in with_gpu if node.accelerator},
        "ray.io/node-id": {node.node_id for node in with_gpu if not node.accelerator},
    }
    selector = {
        label: f"!in({','.join(sorted(values))})" for label, values in refused.items() if values
    }
    num_cpus = sum(node.num_cpus for node in chosen)
    return TrialPlace(selector, num_cpus, 0 if size.gpus_per_replica else replicas)
