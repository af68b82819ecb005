"""A pool follows a cluster of several nodes (Ray processes on this machine)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ray
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster
from ray.tune import PlacementGroupFactory
from ray.util import placement_group_table

from craft_ray.config.oracle import PoolConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.sections import RayConfig
from craft_ray.environment import set_environment
from craft_ray.method.reduction import PromptLoss
from craft_ray.oracle.contract import FloatArray
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import NAMESPACE, RunningPool, running_pool
from craft_ray.pool.membership import PoolSize
from craft_ray.search.trial import trial_resources
from tests.pool.test_pool import question_to, replicas_of
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.hosted_oracle import HostedFakeFactory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIG = PoolConfig(candidates_per_chunk=1, cpus_per_replica=0.1)
FAKE_GPUS = PoolSize(None, 1.0, 1)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    set_environment()
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "num_gpus": 1, "object_store_memory": 100 * 2**20},
    )
    ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def wait_until(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


class Asker(threading.Thread):
    """Asks the same question again and again, as a training does."""

    def __init__(self, pool: RunningPool) -> None:
        super().__init__(daemon=True)
        self._client = PoolOracle(pool.address, CONFIG)
        self._question = question_to(self._client, num_contexts=8)
        self._finished = threading.Event()
        self.answers: list[FloatArray] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._finished.is_set():
                self.answers.append(self._client.predict(*self._question))
        except Exception as error:
            self.error = error

    def finish(self) -> None:
        self._finished.set()
        self.join(timeout=240)
        assert not self.is_alive()
        assert self.error is None, self.error
        for answer in self.answers:
            np.testing.assert_array_equal(answer, self.answers[0])


def test_replicas_follow_nodes_that_join_and_are_lost_while_questions_are_asked(
    cluster: Cluster,
) -> None:
    factory = HostedFakeFactory(service_s=0.005)
    with running_pool("follow", factory, CONFIG, FAKE_GPUS) as pool:
        assert len(replicas_of(pool)) == 1
        asker = Asker(pool)
        asker.start()
        node = cluster.add_node(num_cpus=1, num_gpus=2, object_store_memory=100 * 2**20)
        wait_until(lambda: len(replicas_of(pool)) == 3)
        wait_until(lambda: all(s.chunks > 0 for s in pool.keeper.stats(30).values()))
        assert len(pool.keeper.stats(30)) == 3
        cluster.remove_node(node, allow_graceful=False)
        wait_until(lambda: len(replicas_of(pool)) == 1)
        answered = len(asker.answers)
        wait_until(lambda: asker.error is not None or len(asker.answers) > answered + 3)
        asker.finish()


def ask_anew(address: PoolAddress) -> FloatArray:
    """What a trial does that has just started: in its process nothing is known of the replicas."""
    client = PoolOracle(address, CONFIG)
    return client.predict(*question_to(client, num_contexts=8))


def test_who_comes_after_a_node_was_lost_asks_the_replicas_that_are_left(cluster: Cluster) -> None:
    node = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 * 2**20)
    alone = FakeOracle()
    expected = alone.predict(*question_to(alone, num_contexts=8))
    ask: Any = ray.remote(num_cpus=0)(ask_anew)
    with running_pool("lost", HostedFakeFactory(), CONFIG, PoolSize(2, 1.0, 1)) as pool:
        assert len(replicas_of(pool)) == 2
        cluster.remove_node(node, allow_graceful=False)
        # At once: there is a chunk with the lost replica before anyone knows that it is lost.
        answers = [ask.remote(pool.address)]
        wait_until(lambda: sum(entry["Alive"] for entry in ray.nodes()) == 1)
        wait_until(lambda: len(replicas_of(pool)) == 1)
        answers.append(ask.remote(pool.address))
        # Far less than `chunk_timeout_s`.
        for answer in ray.get(answers, timeout=240):
            np.testing.assert_allclose(answer, expected, atol=1e-6)
        cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 * 2**20)
        wait_until(lambda: len(replicas_of(pool)) == 2)
        np.testing.assert_allclose(
            ray.get(ask.remote(pool.address), timeout=240), expected, atol=1e-6
        )


def test_images_are_shipped_once_a_node_and_a_replica_has_a_gpu_for_itself(
    cluster: Cluster,
) -> None:
    other = cluster.add_node(num_cpus=1, num_gpus=3, object_store_memory=100 * 2**20)
    with running_pool("ship", HostedFakeFactory(service_s=0.05), CONFIG, FAKE_GPUS) as pool:
        assert len(replicas_of(pool)) == 4
        client = PoolOracle(pool.address, CONFIG)
        num_images = 50_000
        # Before the images are registered: they may arrive any time from then on.
        stored_before = bytes_stored(other.node_id)
        task, images, contexts = question_to(client, num_contexts=16, num_images=num_images)
        reduction = PromptLoss(np.zeros(num_images, dtype=np.int64), None, 0.0)
        client.score(task, images, contexts, reduction)
        stats = pool.keeper.stats(30)
        assert [entry.images_encoded for entry in stats.values()] == [num_images] * 4
        shipped = bytes_stored(other.node_id) - stored_before
    size = num_images * 3 * IMAGE_SIZE**2
    # The labels travel as well, as an object of their own.
    assert size <= shipped < size + 2 * reduction.num_bytes


def test_trials_are_placed_beside_the_gpus(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=4, num_gpus=1, object_store_memory=100 * 2**20)
    plain = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    config = RunConfig(ray=RayConfig(cpus_per_trial=0.1, cpus_per_worker=0.1))
    resources = trial_resources(config)
    assert isinstance(resources, PlacementGroupFactory)
    groups = [resources.to_placement_group() for _ in range(5)]
    ray.get([group.ready() for group in groups], timeout=240)
    nodes = {
        node
        for group in groups
        for node in placement_group_table(group)["bundles_to_node_id"].values()
    }
    assert nodes == {plain.node_id}


def bytes_stored(node_id: str) -> int:
    """All that ever came into a node's object store."""
    (node,) = [node for node in ray.nodes() if node["NodeID"] == node_id]
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
    return int(stats.store_stats.cumulative_created_bytes)


def test_a_draining_node_is_left_without_losing_a_chunk(cluster: Cluster) -> None:
    factory = HostedFakeFactory(service_s=0.005)
    node = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 * 2**20)
    with running_pool("drain", factory, CONFIG, FAKE_GPUS) as pool:
        assert len(replicas_of(pool)) == 2
        asker = Asker(pool)
        asker.start()
        wait_until(lambda: len(asker.answers) > 3)
        gcs = ray._raylet.GcsClient(address=cluster.address)
        preemption = 2  # autoscaler.proto: DRAIN_NODE_REASON_PREEMPTION
        deadline_ms = int((time.time() + 60) * 1000)
        accepted, reason = gcs.drain_node(node.node_id, preemption, "test", deadline_ms)
        assert accepted, reason
        wait_until(lambda: len(replicas_of(pool)) == 1)
        time.sleep(4.0)  # the farewell
        asker.finish()
        assert asker._client.totals.retries == 0
