"""How a pool scales over nodes, and how many replicas one driver can feed.

    python -m benchmarks.cluster_scaling

Nodes are Ray's own processes on this machine (`ray.cluster_utils.Cluster`), each with one GPU that
is not there and so one replica; the oracle takes a fixed time for a chunk (see `fixed_service`). An
efficiency of 100 % means that no replica ever waits.

A driver's share is CPU time, so it can be measured beyond what this machine can run: up to 1,000
names of replicas are served by a few processes with many threads, which the driver cannot tell from
1,000 processes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from rich.table import Table

from benchmarks.fixed_service import FixedServiceFactory
from benchmarks.pool_scaling import CHUNK, CONFIG, Asker
from benchmarks.record import commit, write_result
from craft_ray.environment import set_environment
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.lifecycle import NAMESPACE, RunningPool, running_pool
from craft_ray.pool.membership import PoolSize, num_replicas
from craft_ray.pool.replica import OracleReplica

A_GPU_EACH = PoolSize(None, 1.0, 1)
STORE_BYTES = 100 * 2**20
HOSTS = 4
"""Processes that many names of replicas share."""


@dataclass(frozen=True)
class Nodes:
    """One number of nodes, with a replica each."""

    nodes: int
    service_ms: float
    population: int
    queries_per_s: float
    ideal_queries_per_s: float
    efficiency: float
    driver_cpu_ms_per_1000_queries: float


@dataclass(frozen=True)
class Driver:
    """What the driver does for so many replicas, whoever they are."""

    replicas: int
    population: int
    cpu_ms_per_1000_queries: float
    cpu_ms_per_chunk: float
    chunks_per_core_second: float


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster_scaling", description=__doc__
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--service-ms", type=float, nargs="+", default=[200.0, 50.0])
    parser.add_argument("--driver", type=int, nargs="+", default=[8, 32, 125, 500, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    commit_id = commit()
    times_s = [milliseconds / 1000 for milliseconds in options.service_ms]
    rows: list[Nodes] = []
    drivers: list[Driver] = []
    with empty_cluster() as cluster:
        for count in sorted(options.nodes):
            while len(cluster.worker_nodes) < count:
                cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES)
            rows += [measure_nodes(count, service_s, options.repeats) for service_s in times_s]
            if not drivers:
                drivers = [measure_driver(number, options.repeats) for number in options.driver]
    full = [round(saturated_at(drivers, service_s)) for service_s in times_s]
    show(rows, drivers, options.service_ms, full)
    result = {
        "candidates_per_chunk": CHUNK,
        "nodes": [asdict(row) for row in rows],
        "driver": [asdict(row) for row in drivers],
        "driver_core_is_full_at_replicas": dict(
            zip(map(str, options.service_ms), full, strict=True)
        ),
    }
    print(write_result("cluster_scaling", commit_id, result))


@contextmanager
def empty_cluster() -> Iterator[Cluster]:
    """A head node without a GPU, connected."""
    set_environment()
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": STORE_BYTES},
    )
    try:
        ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure_nodes(count: int, service_s: float, repeats: int) -> Nodes:
    """Populations of four chunks a replica, one after the other."""
    assert num_replicas(A_GPU_EACH, cluster_nodes()) == count
    population = 4 * CHUNK * count
    with running_pool(f"of-{service_s}", FixedServiceFactory(service_s), CONFIG, A_GPU_EACH) as p:
        seconds, cpu_s = time_of(Asker(p.address), population, repeats)
    queries = population * repeats
    ideal = count * CHUNK / service_s
    return Nodes(
        nodes=count,
        service_ms=1000 * service_s,
        population=population,
        queries_per_s=queries / seconds,
        ideal_queries_per_s=ideal,
        efficiency=queries / seconds / ideal,
        driver_cpu_ms_per_1000_queries=1e6 * cpu_s / queries,
    )


class ManyNames(PoolOracle):
    """A client that knows its replicas, several names for each process."""

    def know(self, replicas: dict[str, Any]) -> None:
        """From now on these."""
        self._replicas = replicas

    def _members(self) -> list[str]:
        return list(self._replicas)


def measure_driver(count: int, repeats: int) -> Driver:
    """Four chunks a replica, as for nodes."""
    population = 4 * CHUNK * count
    with running_pool("one", FixedServiceFactory(0.05), CONFIG, A_GPU_EACH) as pool:
        hosts = [host_of(pool, index, -(-count // HOSTS)) for index in range(HOSTS)]
        ray.get([host.describe.remote() for host in hosts])
        asker = Asker(pool.address)
        client = ManyNames(pool.address, CONFIG)
        client.know({f"oracle-{index}": hosts[index % HOSTS] for index in range(count)})
        asker._oracle = client
        _, cpu_s = time_of(asker, population, 1 if count > 100 else repeats)
        for host in hosts:
            ray.kill(host)
    queries = population * (1 if count > 100 else repeats)
    per_chunk_s = cpu_s * CHUNK / queries
    return Driver(
        replicas=count,
        population=population,
        cpu_ms_per_1000_queries=1e6 * cpu_s / queries,
        cpu_ms_per_chunk=1000 * per_chunk_s,
        chunks_per_core_second=1 / per_chunk_s,
    )


def host_of(pool: RunningPool, index: int, threads: int) -> Any:
    """A process that answers as so many replicas do."""
    replica_class: Any = ray.remote(OracleReplica)
    options = replica_class.options(num_cpus=0, max_concurrency=threads, namespace=NAMESPACE)
    return options.remote(FixedServiceFactory(0.05), f"host-{index}", pool.address.registry)


def time_of(asker: Asker, population: int, repeats: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, after a first population that nobody counts."""
    asker.ask(population, 1, 0.0)
    before, started = psutil.Process().cpu_times(), time.perf_counter()
    asker.ask(population, repeats, 0.0)
    seconds, after = time.perf_counter() - started, psutil.Process().cpu_times()
    return seconds, after.user + after.system - before.user - before.system


def saturated_at(drivers: Sequence[Driver], service_s: float) -> float:
    """Replicas that keep one core of the driver busy: what they need, at the cost of a chunk
    interpolated between the measured numbers, is a second of CPU time a second."""
    load = [
        (row.replicas, row.replicas / service_s * row.cpu_ms_per_chunk / 1000) for row in drivers
    ]
    for (fewer, low), (more, high) in pairwise(load):
        if low <= 1 < high:
            return fewer + (more - fewer) * (1 - low) / (high - low)
    replicas, used = load[0] if load[0][1] > 1 else load[-1]
    return replicas / used


def show(
    rows: Sequence[Nodes],
    drivers: Sequence[Driver],
    service_ms: Sequence[float],
    full: Sequence[int],
) -> None:
    """Humans' tables."""
    table = Table("nodes", "service ms", "queries/s", "ideal", "efficiency", "driver ms / 1,000")
    for row in rows:
        table.add_row(
            f"{row.nodes}",
            f"{row.service_ms:.0f}",
            f"{row.queries_per_s:,.0f}",
            f"{row.ideal_queries_per_s:,.0f}",
            f"{row.efficiency:.1%}",
            f"{row.driver_cpu_ms_per_1000_queries:.0f}",
        )
    Console().print(table)
    table = Table("replicas", "driver ms / 1,000 queries", "driver ms / chunk", "chunks/s a core")
    for entry in drivers:
        table.add_row(
            f"{entry.replicas}",
            f"{entry.cpu_ms_per_1000_queries:.0f}",
            f"{entry.cpu_ms_per_chunk:.2f}",
            f"{entry.chunks_per_core_second:,.0f}",
        )
    Console().print(table)
    for milliseconds, replicas in zip(service_ms, full, strict=True):
        print(f"at {milliseconds:g} ms a chunk one core of the driver feeds {replicas:,} replicas")


if __name__ == "__main__":
    main()
