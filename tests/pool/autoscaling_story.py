"""A pool on a cluster without a GPU, from its first question to the end; run by
`test_autoscaling` in a PID namespace. Prints what was seen, one JSON object a line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from craft_ray.environment import set_environment

set_environment()  # Ray reads some of it when it is imported

import ray  # noqa: E402

from craft_ray.config.oracle import PoolConfig  # noqa: E402
from craft_ray.pool.client import PoolOracle  # noqa: E402
from craft_ray.pool.cluster import cluster_nodes  # noqa: E402
from craft_ray.pool.lifecycle import NAMESPACE, running_pool  # noqa: E402
from craft_ray.pool.membership import decide_size  # noqa: E402
from tests.pool.test_pool import question_to, replicas_of  # noqa: E402
from tests.support.autoscaling_cluster import autoscaling_cluster  # noqa: E402
from tests.support.hosted_oracle import HostedFakeFactory  # noqa: E402

GPU_NODE = {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": 80 * 2**20}}
CONFIG = PoolConfig(
    candidates_per_chunk=1,
    min_replicas=0,
    max_replicas=2,
    gpus_per_replica=1.0,
    cpus_per_replica=1.0,
    give_back_after_s=4.0,
)


def gpu_nodes() -> int:
    """Nodes with a GPU that are up and stay."""
    return sum(node.num_gpus > 0 and not node.draining for node in cluster_nodes())


def asked_for() -> int:
    """Replicas that wait for room: what Ray's autoscaler brings nodes for."""
    return sum(
        actor["ActorClassName"] == "OracleReplica" and actor["State"] == "PENDING_CREATION"
        for actor in ray._private.state.actors().values()
    )


def killed_driver(address: str) -> None:
    """Start a pool as another driver, and kill that as soon as it has a node."""
    command = [sys.executable, "-m", "tests.pool.autoscaling_story", address]
    driver = subprocess.Popen(command)
    wait_until(lambda: len(nodes_of_replicas()) == 1)
    driver.kill()
    driver.wait()


def drive(address: str) -> None:
    """A driver that never ends by itself."""
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    size = decide_size(CONFIG, cluster_nodes())
    with running_pool("killed", HostedFakeFactory(), CONFIG, size):
        time.sleep(600)


def nodes_of_replicas() -> set[str]:
    """Ids."""
    return {
        actor["Address"]["NodeID"]
        for actor in ray._private.state.actors().values()
        if actor["ActorClassName"] == "OracleReplica" and actor["State"] == "ALIVE"
    }


def tell(event: str, **values: object) -> None:
    """One line."""
    print(json.dumps({"event": event, "gpu_nodes": gpu_nodes(), **values}), flush=True)


def wait_until(condition: Callable[[], bool]) -> None:
    """The outer test has the time limit."""
    while not condition():
        time.sleep(0.2)


def main() -> None:
    """The story."""
    with autoscaling_cluster(GPU_NODE, max_workers=3, idle_timeout_s=3.0) as address:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
        size = decide_size(CONFIG, cluster_nodes())
        tell("before", device=size.device)
        with running_pool("story", HostedFakeFactory(service_s=0.05), CONFIG, size) as pool:
            tell("started", replicas=len(replicas_of(pool)))
            client = PoolOracle(pool.address, CONFIG)
            task, images, contexts = question_to(client, num_contexts=12)
            finished = threading.Event()
            answers = []

            def ask() -> None:
                while not finished.is_set():
                    answers.append(client.predict(task, images, contexts))

            asker = threading.Thread(target=ask)
            asker.start()
            wait_until(lambda: len(replicas_of(pool)) == 2)
            tell("queued", replicas=2, replica_nodes=len(nodes_of_replicas()))
            finished.set()
            asker.join()
            wait_until(lambda: gpu_nodes() == 0)
            tell("idle", replicas=len(replicas_of(pool)), asked_for=asked_for())
            last = client.predict(task, images, contexts)
            equal = all((answer == last).all() for answer in answers)
            tell("asked again", equal=equal, retries=client.totals.retries)
        wait_until(lambda: gpu_nodes() == 0)
        tell("ended", asked_for=asked_for())
        killed_driver(address)
        wait_until(lambda: gpu_nodes() == 0)
        tell("killed", asked_for=asked_for())
        ray.shutdown()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        drive(sys.argv[1])
    else:
        main()
