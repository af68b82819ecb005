"""A pool from its start to its end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import ray

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.errors import ConfigError
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.attached import AttachedPool, offered_name
from craft_ray.pool.cluster import beside_driver
from craft_ray.pool.keeper import PoolKeeper
from craft_ray.pool.membership import PoolSize
from craft_ray.pool.registry import Registry
from craft_ray.pool.replica import HostedOracle, OracleFactory, ReplicaStats

if TYPE_CHECKING:
    from craft_ray.oracle.gate.settings import Secret
    from craft_ray.oracle.remote.records import Records

NAMESPACE = "craft_ray"


@dataclass(frozen=True)
class ClipFactory:
    """Loads a `ClipOracle` where the replica runs; what travels is this, without torch."""

    config: OracleConfig
    device: str
    num_threads: int

    def __call__(self) -> HostedOracle:
        import torch

        from craft_ray.oracle.gpu import check_gpu
        from craft_ray.oracle.white_box import load_oracle

        if self.device == "cuda":
            check_gpu()
        torch.set_num_threads(self.num_threads)
        return load_oracle(self.config, self.device)


@dataclass(frozen=True)
class EndpointFactory:
    """Opens an endpoint where the replica runs, as long as its process lives. There is one replica:
    the gate, which all who ask share, with the endpoint's rates and the money."""

    config: EndpointConfig
    secret: Secret | None
    records: Records
    must_close: ClassVar[bool] = True
    """What was sent may be billed: its answers are awaited for a moment before the process ends."""

    def __call__(self) -> HostedOracle:
        from craft_ray.oracle.remote.opening import open_until_exit

        return open_until_exit(self.config, self.secret, self.records)


class Keeper(Protocol):
    """Who knows a pool's replicas: `PoolKeeper`, or `AttachedPool` of one that others keep."""

    def wait_until_ready(self) -> None:
        """Wait until replicas answer.

        Raises:
            OracleError: the model cannot be loaded.
            PoolError: none was ready in time.
        """
        ...

    def stats(self, timeout_s: float) -> dict[str, ReplicaStats]:
        """What each serving replica has done."""
        ...


@dataclass(frozen=True)
class RunningPool:
    """A pool that answers."""

    address: PoolAddress
    keeper: Keeper


@contextmanager
def running_pool(
    name: str, make_oracle: OracleFactory, config: PoolConfig, size: PoolSize
) -> Iterator[RunningPool]:
    """Start a pool, wait until its replicas have loaded the model, and end it afterwards.

    Raises:
        OracleError: the model cannot be loaded; the pool is ended.
        PoolError: a replica died while loading, or no node can hold one.
    """
    with starting_pool(name, make_oracle, config, size) as pool:
        pool.keeper.wait_until_ready()
        yield pool


@contextmanager
def starting_pool(
    name: str,
    make_oracle: OracleFactory,
    config: PoolConfig,
    size: PoolSize,
    *,
    offered: bool = False,
) -> Iterator[RunningPool]:
    """As `running_pool`, for a caller who has something else to do while the model is loaded, and
    then calls `keeper.wait_until_ready`.

    Args:
        name: of the pool.
        make_oracle: loads the model in a replica.
        config: of the pool; with `attach` it is one that is up already, and nothing is started.
        size: how many replicas, and on what.
        offered: other drivers of the cluster find it by its name.

    Raises:
        ConfigError: there is no pool to attach to, or it has another model; or the name of one
            that is offered is taken.
    """
    model = make_oracle.config if isinstance(make_oracle, ClipFactory) else None
    if config.attach is not None:
        attached = AttachedPool(PoolAddress(NAMESPACE, offered_name(config.attach)), model, config)
        yield RunningPool(attached.address, attached)
        return
    # Another driver on this cluster may have a run of the same name: its replicas may serve another
    # model, and it would end ours with its own.
    registered = offered_name(name) if offered else f"{name}-{secrets.token_hex(4)}/registry"
    address = PoolAddress(NAMESPACE, registry=registered)
    registry_class: Any = ray.remote(Registry)
    try:
        registry = registry_class.options(
            name=address.registry,
            namespace=NAMESPACE,
            num_cpus=0,
            scheduling_strategy=beside_driver(),
        ).remote(model)
    except ValueError:
        problem = f"must be new on this cluster, but a pool {name!r} is offered there already"
        raise ConfigError("name", [problem]) from None
    keeper = PoolKeeper(address, registry, make_oracle, config, size)
    try:
        keeper.start()
        yield RunningPool(address, keeper)
    finally:
        keeper.stop()
        ray.kill(registry)
