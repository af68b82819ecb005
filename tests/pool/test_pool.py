"""The pool on a real local Ray with the embedded oracle: one oracle, whatever happens to it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import ray

from craft_ray.config.run import OracleConfig, PoolConfig, RayConfig
from craft_ray.errors import OracleError, PoolError
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import NAMESPACE, PoolSize, running_pool
from craft_ray.ray_session import ray_session

pytestmark = pytest.mark.slow

CONFIG = PoolConfig(candidates_per_chunk=3, threads_per_replica=1)
TASK = ClassificationTask(("cat", "dog", "ankle boot"))


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with ray_session(RayConfig(num_cpus=2, object_store_mb=200)):
        yield


@pytest.fixture(scope="module")
def pool(local_ray: None) -> Iterator[PoolAddress]:
    with running_pool("pool", OracleConfig(), CONFIG, PoolSize(2, 0.0, 1)) as address:
        yield address


@pytest.fixture(scope="module")
def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 160, 160), dtype=np.uint8)


@pytest.fixture
def client(pool: PoolAddress) -> PoolOracle:
    return PoolOracle(pool, CONFIG)


@pytest.fixture
def question(
    client: PoolOracle, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> tuple[TaskHandle, ImageHandle, FloatArray]:
    task = client.register_task(TASK)
    noise = np.random.default_rng(1).normal(0, 0.1, (8, *task.initial_context.shape))
    contexts = (task.initial_context + noise).astype(np.float32)
    return task, client.register_images(pixels), contexts


Question = tuple[TaskHandle, ImageHandle, FloatArray]


def test_the_pool_answers_as_the_same_oracle_in_process(
    client: PoolOracle, question: Question, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    alone = ClipOracle.load(OracleConfig())
    task, images = alone.register_task(TASK), alone.register_images(pixels)
    assert alone.describe().oracle_id == client.describe().oracle_id
    assert (task.digest, images.digest) == (question[0].digest, question[1].digest)
    expected = alone.predict(task, images, question[2])
    np.testing.assert_allclose(client.predict(*question), expected, atol=1e-4)


def test_answers_are_bit_identical_for_one_and_two_replicas(
    pool: PoolAddress, question: Question, client: PoolOracle
) -> None:
    single = PoolAddress(pool.namespace, pool.registry, pool.replicas[:1])
    one = PoolOracle(single, CONFIG).predict(*question)
    np.testing.assert_array_equal(one, client.predict(*question))


def test_a_refused_question_is_an_error_of_the_asker_and_harms_no_replica(
    client: PoolOracle, question: Question
) -> None:
    task, images, contexts = question
    unknown = TaskHandle("0" * 64, task.num_classes, task.initial_context)
    with pytest.raises(OracleError, match="must be registered first"):
        client.predict(unknown, images, contexts)
    too_long = np.zeros((1, 200, contexts.shape[2]), dtype=np.float32)
    with pytest.raises(OracleError, match="tokens must hold"):
        client.predict(task, images, too_long)
    with pytest.raises(OracleError, match="must have at most"):
        client.register_task(ClassificationTask(("cat", "word " * 100)))
    client.predict(*question)
    assert client.retries == 0


def test_a_killed_replica_is_restarted_and_the_answer_is_the_same(
    pool: PoolAddress, client: PoolOracle, question: Question
) -> None:
    before = client.predict(*question)
    victim = ray.get_actor(pool.replicas[0], namespace=NAMESPACE)
    ray.kill(victim, no_restart=False)
    np.testing.assert_array_equal(client.predict(*question), before)
    single = PoolOracle(PoolAddress(pool.namespace, pool.registry, pool.replicas[:1]), CONFIG)
    # The restarted replica alone: it must find task and images again by itself.
    np.testing.assert_array_equal(single.predict(*question), before)


def test_a_pool_that_is_not_running_is_named() -> None:
    with pytest.raises(PoolError, match="not running"):
        PoolOracle(PoolAddress(NAMESPACE, "absent/registry", ("absent/oracle-0",)), CONFIG)


def test_a_model_that_cannot_be_loaded_ends_the_pool_with_its_reason(local_ray: None) -> None:
    broken = OracleConfig(model="local-dir:/nonexistent")
    with (
        pytest.raises(OracleError, match="cannot be loaded"),
        running_pool("broken", broken, CONFIG, PoolSize(1, 0.0, 1)),
    ):
        pytest.fail("the pool must not start")


def test_an_ended_pool_leaves_no_actor(local_ray: None) -> None:
    with running_pool("brief", OracleConfig(), CONFIG, PoolSize(1, 0.0, 1)) as address:
        names = [address.registry, *address.replicas]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        left = {entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True)}
        if not left & set(names):
            return
        time.sleep(0.2)
    pytest.fail(f"actors are left: {left & set(names)}")
