"""How much of many replicas a pool makes use of, and what sharing one pool gives several trials.

    python -m benchmarks.pool_scaling

The oracle takes a fixed time for a chunk, whatever the machine (see `fixed_service`): an efficiency
of 100 % means that replicas never wait.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray
from rich.console import Console
from rich.table import Table

from benchmarks.fixed_service import CONTEXT, FixedServiceFactory
from benchmarks.record import commit, write_result
from craft_ray.config.oracle import PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
from craft_ray.method.reduction import PromptLoss
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import running_pool
from craft_ray.pool.membership import PoolSize

CHUNK = 10
CONFIG = PoolConfig(candidates_per_chunk=CHUNK, cpus_per_replica=0.01)
NUM_IMAGES, NUM_CLASSES = 160, 10


@dataclass(frozen=True)
class Scaling:
    """One number of replicas that take a fixed time for a chunk."""

    replicas: int
    service_ms: float
    population: int
    seconds: float
    queries_per_s: float
    efficiency: float
    """Work that was needed / time that all replicas had."""
    client_ms_per_1000_queries: float
    """CPU time of the client's process."""


@dataclass(frozen=True)
class Sharing:
    """Four trials, each of which thinks between its populations."""

    pools: str
    seconds: float
    queries_per_s: float


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pool_scaling", description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--service-ms", type=float, nargs="+", default=[50.0, 200.0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    commit_id = commit()
    times_s = [milliseconds / 1000 for milliseconds in options.service_ms]
    with ray_session(RayConfig(object_store_mb=200)):
        scaling = [
            row
            for replicas in options.replicas
            for row in measure_scaling(replicas, times_s, options.repeats)
        ]
        sharing = [measure_sharing(shared, times_s[0]) for shared in (False, True)]
    show(scaling, sharing)
    result = {
        "candidates_per_chunk": CHUNK,
        "scaling": [asdict(row) for row in scaling],
        "sharing": [asdict(row) for row in sharing],
    }
    print(write_result("pool_scaling", commit_id, result))


class Asker:
    """A client that asks populations and, as a trial does, thinks in between."""

    def __init__(self, address: PoolAddress) -> None:
        self._oracle = PoolOracle(address, CONFIG)
        self._task = self._oracle.register_task(ClassificationTask(("a",) * NUM_CLASSES))
        pixels = np.zeros((NUM_IMAGES, 3, 8, 8), dtype=np.uint8)
        self._images = self._oracle.register_images(pixels)
        self._reduction = PromptLoss(np.zeros(NUM_IMAGES, dtype=np.int64), None, 0.0)

    def ask(self, population: int, generations: int, think_s: float) -> float:
        """CPU seconds of this process."""
        contexts = np.zeros((population, *CONTEXT.shape), dtype=np.float32)
        before = time.process_time()
        for _ in range(generations):
            self._oracle.score(self._task, self._images, contexts, self._reduction)
            time.sleep(think_s)
        return time.process_time() - before


def measure_scaling(replicas: int, times_s: Sequence[float], repeats: int) -> list[Scaling]:
    """Populations of four chunks a replica, one after the other, for each service time."""
    population = 4 * CHUNK * replicas
    queries = population * repeats
    rows = []
    for service_s in times_s:
        name, factory = f"{replicas}-of-{service_s}", FixedServiceFactory(service_s)
        with running_pool(name, factory, CONFIG, PoolSize(replicas, 0.0, 1)) as pool:
            asker = Asker(pool.address)
            asker.ask(population, 1, 0.0)
            started = time.perf_counter()
            cpu_s = asker.ask(population, repeats, 0.0)
            seconds = time.perf_counter() - started
        rows.append(
            Scaling(
                replicas=replicas,
                service_ms=1000 * service_s,
                population=population,
                seconds=seconds,
                queries_per_s=queries / seconds,
                efficiency=queries / CHUNK * service_s / (replicas * seconds),
                client_ms_per_1000_queries=1e6 * cpu_s / queries,
            )
        )
    return rows


def measure_sharing(shared: bool, service_s: float) -> Sharing:
    """Four trials on one pool of four replicas, or each on a pool of its own with one."""
    trials, population, generations = 4, 40, 8
    factory = FixedServiceFactory(service_s)
    remote_asker: Any = ray.remote(num_cpus=0)(Asker)
    with ExitStack() as stack:
        if shared:
            pool = running_pool("shared", factory, CONFIG, PoolSize(trials, 0.0, 1))
            addresses = [stack.enter_context(pool).address] * trials
        else:
            addresses = [
                stack.enter_context(
                    running_pool(f"own-{index}", factory, CONFIG, PoolSize(1, 0.0, 1))
                ).address
                for index in range(trials)
            ]
        askers = [remote_asker.remote(address) for address in addresses]
        ray.get([asker.ask.remote(population, 1, 0.0) for asker in askers])
        started = time.perf_counter()
        # As long as a population takes alone: head, optimizer, validation.
        think_s = population / CHUNK * service_s / 2
        ray.get([asker.ask.remote(population, generations, think_s) for asker in askers])
        seconds = time.perf_counter() - started
        for asker in askers:
            ray.kill(asker)
    queries = trials * population * generations
    label = "one of 4 replicas, shared" if shared else "4 of 1 replica each"
    return Sharing(label, seconds, queries / seconds)


def show(scaling: Sequence[Scaling], sharing: Sequence[Sharing]) -> None:
    """Humans' tables."""
    table = Table(
        "replicas",
        "service ms",
        "population",
        "queries/s",
        "efficiency",
        "client ms / 1,000 queries",
    )
    for row in scaling:
        table.add_row(
            f"{row.replicas}",
            f"{row.service_ms:.0f}",
            f"{row.population}",
            f"{row.queries_per_s:,.0f}",
            f"{row.efficiency:.1%}",
            f"{row.client_ms_per_1000_queries:.1f}",
        )
    Console().print(table)
    table = Table("4 trials on pools", "seconds", "queries/s", "ratio")
    for entry in sharing:
        ratio = sharing[0].seconds / entry.seconds
        cells = (entry.pools, f"{entry.seconds:.2f}", f"{entry.queries_per_s:,.0f}", f"{ratio:.2f}")
        table.add_row(*cells)
    Console().print(table)


if __name__ == "__main__":
    main()
