"""The pool on a real local Ray: many replicas that behave as one oracle, whatever happens."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.data.crops import draw_crops, sizes_of
from craft_ray.data.dataset import Item
from craft_ray.data.recipe import Recipe, Sources
from craft_ray.errors import DataError, OracleError, PoolError
from craft_ray.jobs.ray_session import ray_session
from craft_ray.method.reduction import PromptLoss
from craft_ray.method.scoring import reduce_logits
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Oracle,
    TaskHandle,
)
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.cluster import ActorView, view_of
from craft_ray.pool.lifecycle import NAMESPACE, ClipFactory, RunningPool, running_pool
from craft_ray.pool.membership import PoolSize
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.hosted_oracle import HostedFakeFactory
from tests.support.images import encoded, noise

pytestmark = pytest.mark.slow

CONFIG = PoolConfig(candidates_per_chunk=3, cpus_per_replica=0.1)
TASK = ClassificationTask(("cat", "dog", "ankle boot"))
EMBEDDED = ClipFactory(OracleConfig(), "cpu", 1)

Question = tuple[TaskHandle, ImageHandle, FloatArray]


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with ray_session(RayConfig(num_cpus=2, object_store_mb=200)):
        yield


@pytest.fixture(scope="module")
def embedded_pool(local_ray: None) -> Iterator[RunningPool]:
    with running_pool("embedded", EMBEDDED, CONFIG, PoolSize(2, 0.0, 1)) as pool:
        yield pool


def question_to(oracle: Oracle, num_contexts: int = 8, num_images: int = 5) -> Question:
    description = oracle.describe()
    side = description.image_size
    shape = (num_images, 3, side, side)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    task = oracle.register_task(TASK)
    noise = np.random.default_rng(1).normal(0, 0.1, (num_contexts, *task.initial_context.shape))
    contexts = (task.initial_context + noise).astype(np.float32)
    return task, oracle.register_images(pixels), contexts


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.1)


def replicas_of(pool: RunningPool) -> list[str]:
    actor = ray.get_actor(pool.address.registry, namespace=NAMESPACE)
    members: tuple[str, ...] = ray.get(actor.members.remote())
    return list(members)


def test_the_pool_answers_as_the_same_oracle_in_process(embedded_pool: RunningPool) -> None:
    alone, client = ClipOracle.load(OracleConfig()), PoolOracle(embedded_pool.address, CONFIG)
    assert alone.describe().oracle_id == client.describe().oracle_id
    mine, theirs = question_to(alone), question_to(client)
    assert (mine[0].digest, mine[1].digest) == (theirs[0].digest, theirs[1].digest)
    expected = alone.predict(*mine)
    np.testing.assert_allclose(client.predict(*theirs), expected, atol=1e-4)


def test_answers_are_bit_identical_for_one_two_and_four_replicas(
    embedded_pool: RunningPool,
) -> None:
    task, images, contexts = question_to(PoolOracle(embedded_pool.address, CONFIG), 20)
    reduction = PromptLoss(np.array([0, 1, 2, 0, 1]), None, 0.0)
    answers, losses = [], []
    for replicas in (1, 2, 4):
        with running_pool(f"of-{replicas}", EMBEDDED, CONFIG, PoolSize(replicas, 0.0, 1)) as pool:
            client = PoolOracle(pool.address, CONFIG)
            question_to(client)
            answers.append(client.predict(task, images, contexts))
            losses.append(client.score(task, images, contexts, reduction))
            stats = pool.keeper.stats(timeout_s=30)
        assert sum(entry.candidates for entry in stats.values()) == 2 * len(contexts)
        assert all(entry.chunks > 0 for entry in stats.values()), "a replica had nothing to do"
    for other in (1, 2):
        np.testing.assert_array_equal(answers[0], answers[other])
        np.testing.assert_array_equal(losses[0], losses[other])


def test_scores_are_what_the_client_would_compute(embedded_pool: RunningPool) -> None:
    client = PoolOracle(embedded_pool.address, CONFIG)
    task, images, contexts = question_to(client)
    rng = np.random.default_rng(2)
    head = {
        "enter.weight": rng.normal(size=(4, 3)).astype(np.float32),
        "enter.bias": rng.normal(size=4).astype(np.float32),
        "leave.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "leave.bias": rng.normal(size=3).astype(np.float32),
    }
    reduction = PromptLoss(np.array([0, 1, 2, 0, 1]), head, 0.3)
    expected = reduce_logits(client.predict(task, images, contexts), reduction)
    scores = client.score(task, images, contexts, reduction)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    wrong = PromptLoss(np.array([0, 1, 2]), None, 0.0)
    with pytest.raises(OracleError, match=r"reduction: labels must be integers \[5\]"):
        client.score(task, images, contexts, wrong)


def test_a_refused_question_is_an_error_of_the_asker_and_harms_no_replica(
    embedded_pool: RunningPool,
) -> None:
    client = PoolOracle(embedded_pool.address, CONFIG)
    task, images, contexts = question_to(client)
    unknown = TaskHandle("0" * 64, task.num_classes, task.initial_context)
    with pytest.raises(OracleError, match="must be registered first"):
        client.predict(unknown, images, contexts)
    too_long = np.zeros((1, 200, contexts.shape[2]), dtype=np.float32)
    with pytest.raises(OracleError, match="tokens must hold"):
        client.predict(task, images, too_long)
    with pytest.raises(OracleError, match="must have at most"):
        client.register_task(ClassificationTask(("cat", "word " * 100)))
    client.predict(task, images, contexts)
    assert client.totals.retries == 0


def kill(replica: str) -> None:
    ray.kill(ray.get_actor(replica, namespace=NAMESPACE))


def test_a_killed_replica_is_replaced_and_the_new_one_finds_task_and_images_again(
    embedded_pool: RunningPool,
) -> None:
    client = PoolOracle(embedded_pool.address, CONFIG)
    question = question_to(client)
    before = client.predict(*question)
    first, second = replicas_of(embedded_pool)
    kill(first)
    np.testing.assert_array_equal(client.predict(*question), before)
    wait_until(lambda: len(set(replicas_of(embedded_pool)) - {first}) == 2)
    # The new one alone, while the other one is down.
    kill(second)
    np.testing.assert_array_equal(client.predict(*question), before)


def test_totals_of_a_client_add_up(embedded_pool: RunningPool) -> None:
    client = PoolOracle(embedded_pool.address, CONFIG)
    question = question_to(client, num_contexts=7)
    before = client.totals
    began = time.monotonic()
    client.predict(*question)
    rates = client.totals.since(before, time.monotonic() - began)
    assert client.totals.candidates - before.candidates == 7
    assert client.totals.chunks - before.chunks == 3
    assert rates["pool_batch_fill"] == pytest.approx(7 / 9)
    assert rates["pool_queries_per_s"] > 0
    assert rates["pool_service_s"] > 0
    assert rates["pool_queue_wait_s"] > -0.01
    assert client.totals.since(client.totals, 1.0) == {}


def test_ray_exports_what_the_pool_does(embedded_pool: RunningPool) -> None:
    client = PoolOracle(embedded_pool.address, CONFIG)
    client.predict(*question_to(client))
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    expected = ("candidates", "chunks", "busy_seconds", "images_encoded", "queue_wait_seconds")
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(url, timeout=10) as reply:
            text = reply.read().decode()
        missing = [name for name in expected if f"ray_craft_ray_{name}" not in text]
        if not missing:
            break
        assert time.monotonic() < deadline, f"not exported: {missing}"
        time.sleep(1.0)
    assert any("oracle-0" in line for line in text.splitlines() if "craft_ray_chunks" in line)


@pytest.mark.parametrize("lies", ["nan", "shape"])
def test_what_cannot_be_an_answer_is_asked_again_elsewhere(lies: str, tmp_path: Path) -> None:
    factory = HostedFakeFactory(service_s=0.02, lies=lies, hangs_once=str(tmp_path / "taken"))
    with running_pool(f"lies {lies}", factory, CONFIG, PoolSize(2, 0.0, 1)) as pool:
        client = PoolOracle(pool.address, CONFIG)
        task, images, contexts = question_to(client, num_contexts=24)
        answers = client.predict(task, images, contexts)
        assert client.totals.retries > 0
    honest = FakeOracle()
    honest.register_task(TASK)
    honest.register_images(np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8))
    task, images, contexts = question_to(honest, num_contexts=24)
    np.testing.assert_allclose(answers, honest.predict(task, images, contexts), atol=1e-5)


def test_an_answer_that_overflows_everywhere_is_believed() -> None:
    factory = HostedFakeFactory(lies="nan")
    with running_pool("overflow", factory, CONFIG, PoolSize(2, 0.0, 1)) as pool:
        client = PoolOracle(pool.address, CONFIG)
        answers = client.predict(*question_to(client, num_contexts=6))
        assert np.isnan(answers[::3, 0, 0]).all()
        assert np.isfinite(answers).sum() == answers.size - 2
        assert client.totals.retries == 2


def test_replicas_that_only_answer_nonsense_are_named() -> None:
    config = PoolConfig(candidates_per_chunk=3, cpus_per_replica=0.1, max_attempts=2)
    factory = HostedFakeFactory(lies="shape")
    with running_pool("nonsense", factory, config, PoolSize(1, 0.0, 1)) as pool:
        client = PoolOracle(pool.address, config)
        with pytest.raises(
            PoolError, match=r"lost 2 times.*its answer must be float32 \[3, 5, 3\]"
        ):
            client.predict(*question_to(client, num_contexts=3))


def test_a_large_population_does_not_starve_a_small_one() -> None:
    config = PoolConfig(candidates_per_chunk=1, max_chunks_in_flight=2, cpus_per_replica=0.1)
    service_s = 0.02
    factory = HostedFakeFactory(service_s=service_s)
    with running_pool("turns", factory, config, PoolSize(2, 0.0, 1)) as pool:
        large, small = PoolOracle(pool.address, config), PoolOracle(pool.address, config)
        task, images, contexts = question_to(large, num_contexts=300)
        thread = threading.Thread(target=large.predict, args=(task, images, contexts))
        thread.start()
        time.sleep(0.5)
        for _ in range(5):
            small.predict(task, images, contexts[:1])
        totals = small.totals
        assert thread.is_alive(), "the large population must still be at work"
        thread.join()
    # Before its turn at most the other client's two chunks at a replica: not 300.
    assert totals.wait_s / totals.chunks < 6 * service_s


def test_a_pool_that_is_not_running_is_named() -> None:
    with pytest.raises(PoolError, match="not running"):
        PoolOracle(PoolAddress(NAMESPACE, "absent/registry"), CONFIG)


def test_a_model_that_cannot_be_loaded_ends_the_pool_with_its_reason() -> None:
    broken = ClipFactory(OracleConfig(model="local-dir:/nonexistent"), "cpu", 1)
    with (
        pytest.raises(OracleError, match="cannot be loaded"),
        running_pool("broken", broken, CONFIG, PoolSize(1, 0.0, 1)),
    ):
        pytest.fail("the pool must not start")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_torch_cannot_use_ends_the_pool_with_its_reason() -> None:
    with (
        pytest.raises(OracleError, match="was given a GPU, and torch must see it"),
        running_pool(
            "no driver", ClipFactory(OracleConfig(), "cuda", 1), CONFIG, PoolSize(1, 0.0, 1)
        ),
    ):
        pytest.fail("the pool must not start")


def test_a_pool_that_no_node_can_hold_says_so() -> None:
    config = PoolConfig(start_timeout_s=2.0, cpus_per_replica=64.0)
    with (
        pytest.raises(PoolError, match=r"0 of 1 replicas were ready after start_timeout_s=2"),
        running_pool("huge", HostedFakeFactory(), config, PoolSize(1, 0.0, 1)),
    ):
        pytest.fail("the pool must not start")


def test_who_waits_for_room_is_on_no_node() -> None:
    class Idle:
        def answer(self) -> None: ...

    waiting, placed = (ray.remote(Idle).options(num_cpus=cpus).remote() for cpus in (64.0, 0.1))
    ray.get(placed.answer.remote())
    (node,) = ray.nodes()
    assert view_of(placed) == ActorView(is_dead=False, node_id=node["NodeID"])
    time.sleep(1.0)  # Ray has then given the search to a node
    assert view_of(waiting) == ActorView(is_dead=False, node_id=None)
    ray.kill(waiting)
    ray.kill(placed)


def test_an_ended_pool_leaves_no_actor() -> None:
    with running_pool("brief", HostedFakeFactory(), CONFIG, PoolSize(2, 0.0, 1)) as pool:
        names = [pool.address.registry, *replicas_of(pool)]
        assert len(names) == 3
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        left = {entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True)}
        if not left & set(names):
            return
        time.sleep(0.2)
    pytest.fail(f"actors are left: {left & set(names)}")


def recipes_of(oracle: Oracle, blocks: range) -> list[Recipe]:
    how = oracle.describe().transform
    made = []
    for block in blocks:
        items = [Item(encoded(noise(40, 50, 9 * block + row)), 0, f"{row}") for row in range(4)]
        crops_N5 = draw_crops(sizes_of(items), 0.3, block) if block % 2 else None
        made.append(Recipe.of(Sources.of(items), how, crops_N5))
    return made


@pytest.mark.parametrize("keep", [True, False])
def test_sets_in_a_row_are_answered_by_all_replicas_as_by_one_oracle(
    embedded_pool: RunningPool, keep: bool
) -> None:
    oracle = PoolOracle(embedded_pool.address, CONFIG)
    one = ClipOracle.load(OracleConfig())
    task = oracle.register_task(TASK)
    one.register_task(TASK)
    contexts = np.repeat(task.initial_context[None], 5, axis=0)
    contexts += np.random.default_rng(1).normal(0, 0.1, contexts.shape).astype(np.float32)
    recipes = recipes_of(oracle, range(6) if keep else range(6, 12))
    handles = [oracle.register_images(recipe, keep=keep) for recipe in recipes]
    assert handles == [one.register_images(recipe) for recipe in recipes]
    row = ImageHandle.in_a_row(handles)
    encoded_before = {
        name: each.images_encoded for name, each in embedded_pool.keeper.stats(5.0).items()
    }
    answered = oracle.predict(task, row, contexts)
    parts = [one.predict(task, row, contexts[at : at + 3]) for at in (0, 3)]
    np.testing.assert_array_equal(answered, np.concatenate(parts))
    encoded_now = {
        name: each.images_encoded for name, each in embedded_pool.keeper.stats(5.0).items()
    }
    assert all(encoded_now[name] > encoded_before[name] for name in encoded_now), "each took some"
    loss = PromptLoss(np.arange(row.num_images) % 3, None, 0.0)
    scored = oracle.score(task, row, contexts, loss)
    np.testing.assert_allclose(scored, one.score(task, row, contexts, loss), rtol=1e-6)
    part = row.part([9, 1])
    np.testing.assert_array_equal(
        oracle.predict(task, part, contexts[:3]), one.predict(task, part, contexts[:3])
    )


def test_views_of_files_that_the_pool_has_are_not_sent_again(embedded_pool: RunningPool) -> None:
    oracle = PoolOracle(embedded_pool.address, CONFIG)
    items = [Item(encoded(noise(40, 50, 100 + row)), 0, f"{row}") for row in range(3)]
    sources = Sources.of(items)
    how = oracle.describe().transform
    oracle.register_images(Recipe.of(sources, how, None))
    gone = [replace(item, encoded=Path("/nowhere")) for item in items]
    crops_N5 = draw_crops(sizes_of(items), 0.3, 1)
    for keep in (True, False):
        view = Recipe.of(Sources(gone, sources.digests, sources.sizes), how, crops_N5)
        handle = oracle.register_images(view, keep=keep)
        task = oracle.register_task(TASK)
        logits = oracle.predict(task, handle, task.initial_context[None])
        assert np.isfinite(logits).all()


def test_a_broken_image_is_the_askers_error(embedded_pool: RunningPool) -> None:
    oracle = PoolOracle(embedded_pool.address, CONFIG)
    items = [Item(encoded(noise(40, 50), "JPEG")[:300], 0, "the broken one")]
    handle = oracle.register_images(Recipe.of(Sources.of(items), oracle.describe().transform, None))
    task = oracle.register_task(TASK)
    with pytest.raises(DataError, match="the broken one"):
        oracle.predict(task, handle, task.initial_context[None])


def test_questions_that_are_given_up_end_at_once(
    local_ray: None,
) -> None:
    slow = HostedFakeFactory(hangs_s=60.0)
    with running_pool("slow", slow, CONFIG, PoolSize(1, 0.0, 1)) as pool:
        oracle = PoolOracle(pool.address, CONFIG)
        question = question_to(oracle, num_contexts=1)
        with ThreadPoolExecutor(2) as executor:
            asked = [executor.submit(oracle.predict, *question) for _ in range(2)]
            time.sleep(1.0)
            started_s = time.monotonic()
            oracle.give_up()
            for future in asked:
                with pytest.raises(PoolError, match="given up"):
                    future.result()
            assert time.monotonic() - started_s < 30.0, "not as long as the oracle takes"


def test_as_many_passing_sets_of_pixels_as_threads_ask_about_are_there(
    embedded_pool: RunningPool,
) -> None:
    oracle = PoolOracle(embedded_pool.address, CONFIG)
    task = oracle.register_task(TASK)
    size = oracle.describe().image_size
    shape = (2, 3, size, size)
    handles = [
        oracle.register_images(np.full(shape, value, np.uint8), keep=False) for value in range(5)
    ]
    for handle in handles:
        assert oracle.predict(task, handle, task.initial_context[None]).shape == (1, 2, 3)
        oracle.forget(handle)
    gone = oracle.register_images(np.full(shape, 9, np.uint8), keep=False)
    oracle.forget(gone)
    with pytest.raises(OracleError, match="must be registered first"):
        oracle.predict(task, gone, task.initial_context[None])
