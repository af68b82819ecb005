"""A service from its start to its end."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from rich.console import Console

from craft_ray.config.service import ServiceConfig
from craft_ray.errors import ConfigError
from craft_ray.jobs.live import waiting
from craft_ray.jobs.ray_session import ray_session
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.lifecycle import ClipFactory, starting_pool
from craft_ray.pool.membership import PoolSize, decide_size, num_replicas
from craft_ray.service.ingress import IngressSettings, start_ingress, stop_ingress
from craft_ray.service.meter.actor import MeterPlan, start_meter
from craft_ray.service.tunings.actor import start_records
from craft_ray.service.tunings.layout import Layout
from craft_ray.service.tunings.preparation import Workplace
from craft_ray.service.tunings.runner import TuningRunner

EVERYWHERE = ("0.0.0.0", "::")
"""Addresses to listen at, and not to go to."""
SHARE_FOR_IMAGES = 0.5
"""Of the object store, for images that are asked about."""


@dataclass(frozen=True)
class RunningService:
    """Requests are answered."""

    url: str
    ray_address: str
    """Of the cluster that it runs on."""


@contextmanager
def running_service(config: ServiceConfig, console: Console) -> Iterator[RunningService]:
    """Start all of it, wait until requests are answered, and end it afterwards.

    Raises:
        ConfigError: the folder is another service's, the port is taken, or Ray does not start.
        ArtifactError: the keys are something else.
        OracleError: the model cannot be loaded.
        RunFailedError: a part of it does not come up.
    """
    with ExitStack() as stack:
        folder = Path(config.folder)
        stack.enter_context(_only_one(folder))
        _check_port(config)
        with waiting(console, "Starting Ray"):
            stack.enter_context(ray_session(config.ray))
        nodes = cluster_nodes()
        size = decide_size(config.pool, nodes)
        number = num_replicas(size, nodes)
        made = ClipFactory(config.oracle, size.device, size.threads_per_replica)
        meter = start_meter(_meter_plan(config), f"{config.name}/meter")
        with waiting(console, f"Starting {number} replica(s) of {config.oracle.model}"):
            pool = stack.enter_context(
                starting_pool(config.name, made, config.pool, size, offered=True)
            )
            pool.keeper.wait_until_ready()
        layout = Layout(folder.absolute())
        records = start_records(f"{config.name}/tunings", layout.database)
        settings = IngressSettings(
            config, pool.address, meter, records, _at_a_time(config, size, number), _image_bytes()
        )
        with waiting(console, "Starting the ingress"):
            stack.callback(stop_ingress)
            start_ingress(settings)
        if config.tuning.enabled:
            runner = TuningRunner(
                records, meter, _workplace(config, layout), config.tuning.at_a_time
            )
            stack.callback(runner.stop)
            runner.start()
        yield RunningService(url_of(config), ray.get_runtime_context().gcs_address)


def url_of(config: ServiceConfig) -> str:
    """Where requests go."""
    host = socket.gethostname() if config.host in EVERYWHERE else config.host
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if config.tls_cert else 'http'}://{host}:{config.port}"


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two services in one folder would each forget what the other has promised.

    Raises:
        ConfigError: there is one, or the folder cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "service.lock").open("a")
    except OSError as error:
        problem = f"must be a folder that can be written, but {folder}: {error.strerror}"
        raise ConfigError("folder", [problem]) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"{folder} must be of no other service, but one is running there"
            raise ConfigError("folder", [problem]) from None
        yield


def _check_port(config: ServiceConfig) -> None:
    """Serve would try again and again, and say so in its own log only.

    Raises:
        ConfigError: it cannot be listened at.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
    except OSError as error:
        raise ConfigError("host", [f"must be an address of this machine, but: {error}"]) from None
    with socket.socket(kind) as probe:
        with suppress(OSError):  # where a connection has ended a moment ago
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            problem = f"must be free at {config.host}, but {config.port}: {error.strerror}"
            raise ConfigError("port", [problem]) from None


def _meter_plan(config: ServiceConfig) -> MeterPlan:
    if config.keys is None:
        path, needs_keys = Path(config.folder) / "meter.db", False
    else:
        path, needs_keys = Path(config.keys), True
    return MeterPlan(path, needs_keys, config.bounds.keep_answers_h)


def _workplace(config: ServiceConfig, layout: Layout) -> Workplace:
    return Workplace(
        layout,
        config.oracle,
        config.pool,
        config.mlflow,
        config.ray,
        attach=config.name,
        address=ray.get_runtime_context().gcs_address,
    )


def _at_a_time(config: ServiceConfig, size: PoolSize, number: int) -> int:
    """On a CPU a chunk takes seconds, and one that waits at a replica is one that a key with little
    to ask waits behind; a GPU would stand still while the next one is on its way."""
    return number * (config.pool.max_chunks_in_flight if size.gpus_per_replica else 1)


def _image_bytes() -> int:
    return int(ray.cluster_resources().get("object_store_memory", 1e9) * SHARE_FOR_IMAGES)
