"""A pool under fire: what is lost, hangs, fails or comes late costs nobody an answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray

from craft_ray.config.oracle import PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.jobs.ray_session import ray_session
from craft_ray.oracle.contract import PixelArray
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import NAMESPACE, RunningPool, running_pool, starting_pool
from craft_ray.pool.membership import PoolSize
from tests.pool.test_pool import CONFIG, kill, question_to, replicas_of, wait_until
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.hosted_oracle import BREAKS, CRASHES, FAILS, HostedFakeFactory

pytestmark = pytest.mark.slow

ONE, TWO = PoolSize(1, 0.0, 1), PoolSize(2, 0.0, 1)


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with ray_session(RayConfig(num_cpus=2, object_store_mb=200)):
        yield


def candidates_served(pool: RunningPool) -> int:
    return sum(stats.candidates for stats in pool.keeper.stats(timeout_s=30).values())


def images_numbered(number: int) -> PixelArray:
    return np.full((5, 3, IMAGE_SIZE, IMAGE_SIZE), number, dtype=np.uint8)


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        (CRASHES, "chunk 1 was lost 3 times.*worker process has died"),
        (BREAKS, "chunk 1 was lost 3 times.*RuntimeError: an illegal memory access"),
        # A replica that says so itself is believed when a second one says so too.
        (FAILS, "chunk 1 was lost 2 times.*RuntimeError: no such kernel\nCompile with"),
    ],
)
def test_a_question_that_no_replica_survives_fails_alone_and_the_pool_lives_on(
    mark: float, complaint: str
) -> None:
    config = PoolConfig(candidates_per_chunk=3, max_attempts=3, cpus_per_replica=0.1)
    with running_pool("poison", HostedFakeFactory(), config, TWO) as pool:
        client = PoolOracle(pool.address, config)
        task, images, contexts = question_to(client, num_contexts=6)
        honest = FakeOracle()
        expected = honest.predict(*question_to(honest, num_contexts=6))
        poison = contexts.copy()
        poison[4, 0, 0] = mark
        with pytest.raises(PoolError, match=f"(?s){complaint}"):
            client.predict(task, images, poison)
        answer = PoolOracle(pool.address, CONFIG).predict(task, images, contexts)
        np.testing.assert_allclose(answer, expected, atol=1e-6)
        wait_until(lambda: len(replicas_of(pool)) == 2)


def test_a_replica_that_hangs_is_replaced_and_its_chunks_are_answered_elsewhere(
    tmp_path: Path,
) -> None:
    config = PoolConfig(candidates_per_chunk=3, chunk_timeout_s=1.0, cpus_per_replica=0.1)
    factory = HostedFakeFactory(hangs_s=60.0, hangs_once=str(tmp_path / "taken"))
    with running_pool("hang", factory, config, TWO) as pool:
        before = set(replicas_of(pool))
        client = PoolOracle(pool.address, config)
        question = question_to(client, num_contexts=12)
        began = time.monotonic()
        client.predict(*question)
        assert 1.0 <= time.monotonic() - began < 30.0
        assert client.totals.retries > 0
        assert client.totals.candidates == 12, "each candidate is answered once"
        wait_until(lambda: len(set(replicas_of(pool)) - before) == 1)


def test_a_process_that_is_stopped_is_replaced() -> None:
    config = PoolConfig(candidates_per_chunk=3, chunk_timeout_s=2.0, cpus_per_replica=0.1)
    with running_pool("stopped", HostedFakeFactory(), config, ONE) as pool:
        (only,) = replicas_of(pool)
        client = PoolOracle(pool.address, config)
        question = question_to(client)
        client.predict(*question)
        entry = ray._private.state.state.actor_table(
            ray.get_actor(only, namespace=NAMESPACE)._actor_id.hex()
        )
        psutil.Process(entry["Pid"]).suspend()
        client.predict(*question)
        assert replicas_of(pool) != [only]


def test_time_in_the_queue_of_a_replica_is_no_loss() -> None:
    config = PoolConfig(candidates_per_chunk=1, chunk_timeout_s=1.0, cpus_per_replica=0.1)
    with running_pool("queue", HostedFakeFactory(service_s=0.4), config, ONE) as pool:
        clients = [PoolOracle(pool.address, config) for _ in range(4)]
        task, images, contexts = question_to(clients[0], num_contexts=3)
        threads = [
            threading.Thread(target=client.predict, args=(task, images, contexts))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert max(client.totals.wait_s for client in clients) > 3.0, "nobody has waited"
        assert [client.totals.retries for client in clients] == [0] * 4
        assert candidates_served(pool) == 12


def test_a_first_encoding_may_take_longer_than_a_chunk() -> None:
    config = PoolConfig(candidates_per_chunk=3, chunk_timeout_s=1.0, cpus_per_replica=0.1)
    with running_pool("encoding", HostedFakeFactory(encodes_s=0.3), config, TWO) as pool:
        client = PoolOracle(pool.address, config)
        began = time.monotonic()
        client.predict(*question_to(client, num_contexts=12, num_images=12))
        assert time.monotonic() - began > 3.0
        assert client.totals.retries == 0
        stats = pool.keeper.stats(timeout_s=30).values()
        assert {entry.images_encoded for entry in stats} == {12}


def test_images_that_pass_are_there_as_long_as_their_asker_needs_them() -> None:
    with running_pool("passing", HostedFakeFactory(), CONFIG, ONE) as pool:
        clients = [PoolOracle(pool.address, CONFIG) for _ in range(2)]
        task, _, contexts = question_to(clients[0])
        # Two examiners, each a block ahead; the replica of the first blocks is lost meanwhile.
        blocks = [
            [client.register_images(images_numbered(10 * index + block), keep=False)]
            for index, client in enumerate(clients)
            for block in (0,)
        ]
        for block in range(1, 6):
            if block == 3:
                (only,) = replicas_of(pool)
                kill(only)
            for index, client in enumerate(clients):
                pixels = images_numbered(10 * index + block)
                blocks[index].append(client.register_images(pixels, keep=False))
            for index, client in enumerate(clients):
                client.expect(blocks[index][block])
                client.predict(task, blocks[index][block - 1], contexts)
        (only,) = replicas_of(pool)
        kill(only)
        with pytest.raises(OracleError, match="must be registered first"):
            clients[0].predict(task, blocks[0][0], contexts)


def test_a_replica_that_cannot_load_again_is_tried_until_it_can(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.write_text("")
    factory = HostedFakeFactory(orders=str(orders))
    with running_pool("reload", factory, CONFIG, ONE) as pool:
        client = PoolOracle(pool.address, CONFIG)
        question = question_to(client)
        before = client.predict(*question)
        # First nothing can be loaded, then something else.
        for order in ("503 of the hub", "7"):
            orders.write_text(order)
            for name in replicas_of(pool):
                kill(name)
            wait_until(lambda: replicas_of(pool) == [])
            time.sleep(3.0)
            assert replicas_of(pool) == []
        timer = threading.Timer(1.0, orders.write_text, [""])
        timer.start()
        np.testing.assert_array_equal(client.predict(*question), before)
        timer.join()


def test_a_replica_that_hangs_while_it_loads_again_is_replaced(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.write_text("")
    config = PoolConfig(candidates_per_chunk=3, cpus_per_replica=0.1, start_timeout_s=20.0)
    with running_pool("hanging", HostedFakeFactory(orders=str(orders)), config, ONE) as pool:
        client = PoolOracle(pool.address, CONFIG)
        question = question_to(client)
        before = client.predict(*question)
        orders.write_text("hang")
        (only,) = replicas_of(pool)
        kill(only)
        wait_until(lambda: orders.read_text() == "")
        wait_until(lambda: replicas_of(pool) not in ([], [only]))
        np.testing.assert_array_equal(client.predict(*question), before)


def test_a_pool_that_was_ready_in_time_is_ready_whenever_it_is_waited_for() -> None:
    config = PoolConfig(cpus_per_replica=0.1, start_timeout_s=15.0)
    with starting_pool("waited for", HostedFakeFactory(), config, ONE) as pool:
        time.sleep(config.start_timeout_s + 0.5)
        pool.keeper.wait_until_ready()
        assert len(replicas_of(pool)) == 1


def test_why_a_model_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.write_text("CUDA is out of memory")
    with (
        pytest.raises(PoolError, match="could not load the model: RuntimeError: CUDA is out of"),
        running_pool("cause", HostedFakeFactory(orders=str(orders)), CONFIG, ONE),
    ):
        pytest.fail("the pool must not start")


def test_a_lost_registry_ends_the_question_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with running_pool("orphan", HostedFakeFactory(), CONFIG, ONE) as pool:
        client = PoolOracle(pool.address, CONFIG)
        question = question_to(client)
        client.predict(*question)
        (only,) = replicas_of(pool)
        ray.kill(ray.get_actor(pool.address.registry, namespace=NAMESPACE))
        time.sleep(1.5)
        with pytest.raises(PoolError, match="its registry was lost"):
            client.predict(*question)
        caplog.clear()
        kill(only)
        time.sleep(3.5)
        said = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.exc_info for record in said] == [None], "once, and without a traceback"
