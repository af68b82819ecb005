"""That all nodes which can run a trial see its folder, found before anything is paid."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place, RemotePath
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.placement import trial_nodes

ANSWER_TIMEOUT_S = 60.0
"""A node that does not answer for so long is not judged: it may be on its way out."""
PATIENCE_S = 5.0
"""For a network file system that shows new files late, and for Ray to count what a replica took."""
PAUSE_S = 0.5


def check_nodes_share(folder: Place, config: RunConfig, *, kept_free: float = 0.0) -> None:
    """Let every other node with room for a trial look for a file of this one.

    Args:
        folder: of the run.
        config: says which nodes may run trials, and what these take.
        kept_free: CPUs of each node that replicas will take; those that run have taken theirs.

    Raises:
        ConfigError: a node does not see it.
    """
    marker = folder / f".seen-{uuid.uuid4().hex}"
    deadline = time.monotonic() + PATIENCE_S
    hosts = _other_hosts(config, kept_free)
    if not hosts:
        return
    marker.write_bytes(b"craft-ray")
    try:
        while problems := _ask(hosts, marker):
            if time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S)
            hosts = {node: hosts[node] for node in _other_hosts(config, kept_free) if node in hosts}
    finally:
        marker.unlink(missing_ok=True)
    if problems:
        raise ConfigError(
            "output_dir",
            [
                f"{folder.parent} must be seen by every node that can run a trial, but node "
                f"{hosts[node]} {problem}: {_remedy(folder)}, or keep trials off that node "
                '(docs/cluster.md, "Storage")'
                for node, problem in problems.items()
            ],
        )


def _remedy(folder: Place) -> str:
    if isinstance(folder, RemotePath):
        return "give its environment the way and the credentials to the object store"
    return (
        "give a folder that all nodes share (NFS) or an address on an object store "
        "(s3://bucket/prefix)"
    )


def _other_hosts(config: RunConfig, kept_free: float) -> dict[str, str]:
    """Nodes beside this one that have room for a trial or its worker: id -> address."""
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in trial_nodes(config, cluster_nodes()) if node.node_id != here]
    if not others:
        return {}
    needed = min(config.ray.cpus_per_trial, config.ray.cpus_per_worker) + kept_free
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    # Ray's public call knows the cluster's sum only.
    free = ray._private.state.available_resources_per_node()
    return {
        node.node_id: addresses[node.node_id]
        for node in others
        if free.get(node.node_id, {}).get("CPU", 0.0) >= needed and not node.draining
    }


def _ask(hosts: Mapping[str, str], marker: Place) -> dict[str, str]:
    """Node -> what is wrong there."""
    if not hosts:
        return {}
    task: Any = ray.remote(_look_for)
    asked = {
        task.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(marker): node
        for node in hosts
    }
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_TIMEOUT_S)
    problems = {}
    for reference in ready:
        try:
            problem = ray.get(reference)
        except RayError:  # the node has gone
            continue
        if problem is not None:
            problems[asked[reference]] = problem
    return problems


def _look_for(marker: Place) -> str | None:
    """On another node."""
    try:
        return None if marker.is_file() else "does not see it"
    except OSError as error:
        return f"cannot read it: {error}"
