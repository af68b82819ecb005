"""What must hold for the sizes in clusters/kuberay.yaml: Ray's object store fits into memory, pods
fit onto the nodes that the file is for, and weights go where the image looks for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

FACTORS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
# Of a node of 8 vCPU and 32 GB, what pods of others leave where most is kept: on GKE 7.91 CPU and
# 28.3 GiB can be given to pods, of which its own take some.
NODE_CPUS, NODE_BYTES = 7.5, 27 * 2.0**30
SHARED_MEMORY_SHARE = 0.95
"""Ray's: of what /dev/shm has, so much is for the object store."""


def number_of(quantity: str) -> float:
    """A quantity of Kubernetes, such as `6500m` or `4Gi`, as a number.

    Raises:
        ValueError: it has another form, or a unit that the file does not use.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|Mi|Gi)?", quantity)
    if found is None:
        raise ValueError(f"quantity: must be a number with m, Mi, Gi or no unit, got {quantity!r}")
    return float(found.group(1)) * FACTORS[found.group(2) or ""]


def size_problems(spec: Mapping[str, Any], where: str, weights: str) -> Iterator[str]:
    """Every law that a RayCluster's sizes break, in words.

    Args:
        spec: of the RayCluster.
        where: its name.
        weights: the folder in which the image keeps weights.
    """
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        name = f"{where}.{group.get('groupName', 'head')}"
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        ray = pod["containers"][0]
        mounts = {mount["mountPath"]: volumes.get(mount["name"]) for mount in ray["volumeMounts"]}
        yield from _store_problems(group["rayStartParams"], ray, mounts.get("/dev/shm"), name)
        if mounts.get(weights) is None:
            yield f"{name}: a volume must be at {weights}, where the image keeps weights"
    yield from _node_problems(spec, where)


def _store_problems(
    params: Mapping[str, str],
    container: Mapping[str, Any],
    volume: Mapping[str, Any] | None,
    name: str,
) -> Iterator[str]:
    store = float(params.get("object-store-memory", "inf"))
    directory = {} if volume is None else volume.get("emptyDir", {})
    if directory.get("medium") != "Memory":
        yield f"{name}: /dev/shm must be a volume in memory, but is {volume}"
        return
    most = SHARED_MEMORY_SHARE * number_of(directory["sizeLimit"])
    if store > most:
        yield f"{name}: object-store-memory {store:g} must be at most {most:g}, of /dev/shm"
    memory = container.get("resources", {}).get("limits", {}).get("memory", "0")
    if number_of(directory["sizeLimit"]) > number_of(memory) / 2:
        yield f"{name}: /dev/shm must be at most half of the container's memory, {memory}"


def _node_problems(spec: Mapping[str, Any], where: str) -> Iterator[str]:
    """The head's pod, with the autoscaler that the operator puts beside it."""
    containers = spec["headGroupSpec"]["template"]["spec"]["containers"]
    resources = [container.get("resources", {}) for container in containers]
    resources.append(spec["autoscalerOptions"]["resources"])
    requests = [each.get("requests", {}) for each in resources]
    for resource, most in (("cpu", NODE_CPUS), ("memory", NODE_BYTES)):
        asked = sum(number_of(each.get(resource, "0")) for each in requests)
        if asked > most:
            yield f"{where}.head: requests of {resource} must be at most {most:g}, got {asked:g}"
