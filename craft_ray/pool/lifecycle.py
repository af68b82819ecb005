"""Starting a pool on a running Ray, and deciding how large it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from craft_ray.config.run import OracleConfig, PoolConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.registry import Registry
from craft_ray.pool.replica import OracleReplica

NAMESPACE = "craft_ray"
MAX_CPU_REPLICAS = 4
MAX_RESTARTS = 10


@dataclass(frozen=True)
class PoolSize:
    """What the pool takes of the cluster."""

    replicas: int
    gpus_per_replica: float
    threads_per_replica: int

    @property
    def device(self) -> str:
        """torch device of a replica."""
        return "cuda" if self.gpus_per_replica else "cpu"


def decide_size(config: PoolConfig, cluster: Mapping[str, float]) -> PoolSize:
    """Resolve `auto`: one replica a GPU, or without GPUs one a CPU, at most four.

    Args:
        config: the settings.
        cluster: total resources, with keys CPU and GPU. More may be asked for: an autoscaling
            cluster brings it.
    """
    cpus, gpus = int(cluster.get("CPU", 1)), cluster.get("GPU", 0.0)
    gpus_per_replica = config.gpus_per_replica
    if gpus_per_replica == "auto":
        gpus_per_replica = 1.0 if gpus else 0.0
    affordable = int(gpus / gpus_per_replica) if gpus_per_replica else min(cpus, MAX_CPU_REPLICAS)
    replicas = max(1, affordable) if config.replicas == "auto" else config.replicas
    fair_share = max(1, cpus // replicas)
    threads = fair_share if config.threads_per_replica == "auto" else config.threads_per_replica
    return PoolSize(replicas, gpus_per_replica, threads)


@contextmanager
def running_pool(
    name: str, oracle: OracleConfig, pool: PoolConfig, size: PoolSize
) -> Iterator[PoolAddress]:
    """Start a pool, wait until its replicas have loaded the model, and end it afterwards.

    Raises:
        OracleError: the model cannot be loaded; the pool is ended.
        PoolError: a replica died while loading.
    """
    address = PoolAddress(
        namespace=NAMESPACE,
        registry=f"{name}/registry",
        replicas=tuple(f"{name}/oracle-{index}" for index in range(size.replicas)),
    )
    options = {"namespace": NAMESPACE, "get_if_exists": True}
    registry_class: Any = ray.remote(Registry)
    replica_class: Any = ray.remote(OracleReplica)
    registry = registry_class.options(name=address.registry, num_cpus=0, **options).remote()
    replicas = [
        replica_class.options(
            name=replica_name,
            num_cpus=pool.cpus_per_replica,
            num_gpus=size.gpus_per_replica,
            max_restarts=MAX_RESTARTS,
            # The client retries on another replica; Ray would repeat a deadly request here.
            max_task_retries=0,
            **options,
        ).remote(oracle, size.device, size.threads_per_replica, address.registry)
        for replica_name in address.replicas
    ]
    try:
        try:
            descriptions = ray.get([replica.describe.remote() for replica in replicas])
        except ray.exceptions.RayActorError as error:
            raise _start_error(error) from error
        if len({description.oracle_id for description in descriptions}) > 1:
            raise PoolError("all replicas must serve the same model, but their ids differ")
        ray.get(registry.set_description.remote(descriptions[0]))
        yield address
    finally:
        for actor in (*replicas, registry):
            ray.kill(actor)


def _start_error(error: Exception) -> Exception:
    """A model that cannot be loaded is the user's to mend; anything else is the pool's."""
    text = str(error)
    marker = f"{OracleError.__name__}: "
    if marker in text:
        return OracleError(text.rsplit(marker, 1)[1].splitlines()[0])
    return PoolError(f"a replica died while it loaded the model: {text}")
