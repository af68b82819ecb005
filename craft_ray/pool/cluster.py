"""What Ray says about the connected cluster: its nodes, and where an actor is. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from craft_ray.pool.membership import NodeView


@dataclass(frozen=True)
class ActorView:
    """Ray's word on an actor."""

    is_dead: bool
    node_id: str | None
    """None before it has been placed."""


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


def view_of(actor: Any) -> ActorView:
    """Asks Ray and not the actor, so a busy one need not answer. Whoever Ray says nothing about is
    not doubted."""
    # The public twin in `ray.util.state` asks the dashboard, which a cluster may do without.
    entry = ray._private.state.state.actor_table(actor._actor_id.hex())
    state = entry.get("State")
    # Before it is alive, Ray names the node that looks for a place for it.
    return ActorView(state == "DEAD", entry["Address"]["NodeID"] if state == "ALIVE" else None)


def beside_driver() -> NodeAffinitySchedulingStrategy:
    """For actors without resources of their own: on another node they would keep it from ever being
    idle, and end with it when it is lost."""
    # Not soft: Ray then chose another node in two of six tries.
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def this_driver() -> str:
    """Ray's id of the job that this process belongs to: of a driver and all that it has started."""
    return str(ray.get_runtime_context().get_job_id())


def living_drivers() -> set[str]:
    """Ids of the jobs of the connected cluster that have not ended."""
    return {job["JobID"] for job in ray._private.state.jobs() if not job["IsDead"]}


def this_node() -> str:
    """The resource that only this node has, for whoever takes resources and no strategy."""
    node_id = ray.get_runtime_context().get_node_id()
    (resources,) = (node["Resources"] for node in ray.nodes() if node["NodeID"] == node_id)
    head = "node:__internal_head__"
    own = (str(name) for name in resources if name.startswith("node:") and name != head)
    return next(own)
