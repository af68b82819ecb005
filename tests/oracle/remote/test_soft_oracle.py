"""Endpoints that speak craft-ray's own protocol: equal to the oracle in process, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.data.encoded import png_files
from craft_ray.errors import OracleError
from craft_ray.method.reduction import LinearHeadError, PromptLoss, Reduction
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    LossArray,
    TaskHandle,
)
from craft_ray.oracle.endpoints.craft_ray_protocol import ROOM
from craft_ray.oracle.endpoints.wire import Reply, Request
from craft_ray.oracle.remote.soft_oracle import SoftEndpointOracle
from tests.oracle.conftest import clip_of
from tests.support.asked_endpoint import endpoint, soft_oracle
from tests.support.craft_ray_server import CraftRayServer
from tests.support.fake_oracle import FakeOracle, images_of
from tests.support.model_server import model_server

TASK = ClassificationTask(("cat", "dog", "hen"))
PIXELS = np.concatenate([images_of(name, 3, np.random.default_rng(0)) for name in ("cat", "dog")])


@pytest.fixture(scope="module")
def clip(tiny_folder: Path) -> ClipOracle:
    return clip_of(tiny_folder)


def contexts_of(task: TaskHandle, number: int) -> FloatArray:
    noise = np.random.default_rng(1).normal(size=(number, *task.initial_context.shape))
    return (task.initial_context + 0.1 * noise).astype(np.float32)


def logits(oracle: SoftEndpointOracle | FakeOracle, number: int = 3) -> FloatArray:
    task = oracle.register_task(TASK)
    takes_files = oracle.describe().takes_files
    images = oracle.register_images(png_files(PIXELS) if takes_files else PIXELS)
    return oracle.predict(task, images, contexts_of(task, number))


def test_whole_prompts_are_asked_in_the_same_predictions(tmp_path: Path) -> None:
    task = ClassificationTask(TASK.class_names, TASK.template, ("a wet hen", "dog"))
    with (
        model_server(CraftRayServer(FakeOracle()).serve) as server,
        soft_oracle(endpoint(server.url, "craft_ray"), tmp_path / "run") as oracle,
    ):
        handle = oracle.register_task(task)
        images = oracle.register_images(png_files(PIXELS))
        found = oracle.predict(handle, images, contexts_of(handle, 2))
        assert oracle.bill.answered.pairs == 2 * len(PIXELS) * 5
    inside = FakeOracle()
    handle = inside.register_task(task)
    expected = inside.predict(handle, inside.register_images(PIXELS), contexts_of(handle, 2))
    np.testing.assert_array_equal(found, expected)


def test_a_server_that_knows_no_whole_prompts_is_refused(tmp_path: Path) -> None:
    served = CraftRayServer(FakeOracle())

    def older(request: Request) -> Reply:
        if request.path == "/v1/tasks":
            asked = json.loads(request.body)
            asked.pop("prompts", None)
            request = replace(request, body=json.dumps(asked).encode())
        return served.serve(request)

    task = ClassificationTask(TASK.class_names, TASK.template, ("dog",))
    with (
        model_server(older) as server,
        soft_oracle(endpoint(server.url, "craft_ray"), tmp_path / "run") as oracle,
    ):
        oracle.register_task(TASK)
        with pytest.raises(OracleError, match=r"knows no whole prompts: head.offset=template"):
            oracle.register_task(task)


def test_predictions_are_those_of_the_oracle_in_process(tmp_path: Path) -> None:
    with model_server(CraftRayServer(FakeOracle()).serve) as server:
        config = endpoint(server.url, "craft_ray", prices={"pair": 0.001})
        with soft_oracle(config, tmp_path / "run") as oracle:
            expected, described = FakeOracle().describe(), oracle.describe()
            for name in ("oracle_id", "embed_dim", "context_length", "image_size", "logit_scale"):
                assert getattr(described, name) == getattr(expected, name)
            np.testing.assert_array_equal(described.initial_context, expected.initial_context)
            assert described.takes_files
            np.testing.assert_array_equal(logits(oracle), logits(FakeOracle()))
            once = len(server.requests)
            np.testing.assert_array_equal(logits(oracle), logits(FakeOracle()))
            bill = oracle.bill
        # A task says where the search begins; all else is known.
        assert [request.path for request in server.requests[once:]] == ["/v1/tasks"]
        assert bill.answered.pairs == bill.answered.told.pairs == 3 * len(PIXELS) * 3
        assert bill.cost == pytest.approx(0.001 * bill.answered.pairs)
        with soft_oracle(config, tmp_path / "later") as oracle:
            once = len(server.requests)
            np.testing.assert_array_equal(logits(oracle), logits(FakeOracle()))
            assert [request.path for request in server.requests[once:]] == ["/v1/tasks"]
            assert oracle.bill.cost == 0


@pytest.mark.parametrize(
    "limits",
    [{"images": 4}, {"contexts": 2}, {"answer_bytes": 40}, {"bytes": ROOM + 600}],
)
def test_parts_beyond_limits_make_the_same_whole(limits: dict[str, int], tmp_path: Path) -> None:
    with model_server(CraftRayServer(FakeOracle()).serve) as server:
        config = endpoint(server.url, "craft_ray", limits=limits)
        with soft_oracle(config, tmp_path / "run") as oracle:
            found = logits(oracle, 5)
        asked = [request for request in server.requests if request.path == "/v1/predict"]
    np.testing.assert_array_equal(found, logits(FakeOracle(), 5))
    assert len(asked) > 1
    assert all(len(each.body) <= limits.get("bytes", 10**9) for each in asked)


def reductions(num_images: int, num_classes: int) -> list[Reduction]:
    labels = np.arange(num_images, dtype=np.int64) % 2
    known = np.random.default_rng(2).normal(size=(num_images, 2)).astype(np.float32)
    return [PromptLoss(labels, None, 0.0), LinearHeadError(labels, num_classes, known)]


def test_scores_are_those_of_the_oracle_in_process(clip: ClipOracle, tmp_path: Path) -> None:
    size = clip.describe().image_size
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, size=(8, 3, size, size)).astype(np.uint8)
    with model_server(CraftRayServer(clip).serve) as server:
        config = endpoint(server.url, "craft_ray", limits={"contexts": 2})
        with soft_oracle(config, tmp_path / "run") as oracle:
            assert oracle.describe().scores
            task, images = oracle.register_task(TASK), oracle.register_images(png_files(pixels))
            here = clip.register_images(pixels)
            contexts = contexts_of(task, 4)
            np.testing.assert_array_equal(
                oracle.predict(task, images, contexts),
                np.concatenate([clip.predict(task, here, some) for some in np.split(contexts, 2)]),
            )
            for reduction in reductions(len(pixels), 3):
                parts: list[tuple[int, list[float]]] = []

                def tell(start: int, some: LossArray, told: list[Any] = parts) -> None:
                    told.append((start, list(some)))

                losses = oracle.score(task, images, contexts, reduction, tell)
                halves = [clip.score(task, here, s, reduction) for s in np.split(contexts, 2)]
                np.testing.assert_array_equal(losses, np.concatenate(halves))
                assert parts == [(0, list(losses))]
            few = config.model_copy(
                update={"limits": config.limits.model_copy(update={"images": 7})}
            )
        with soft_oracle(few, tmp_path / "few") as oracle:
            task, images = oracle.register_task(TASK), oracle.register_images(png_files(pixels))
            with pytest.raises(OracleError, match="must hold all 8 images of a score"):
                oracle.score(task, images, contexts + 1, reductions(8, 3)[0])


def test_a_server_that_was_started_again_is_told_what_it_forgot(tmp_path: Path) -> None:
    served = CraftRayServer(FakeOracle())
    with model_server(served.serve) as server:
        config = endpoint(server.url, "craft_ray", limits={"contexts": 1}, prices={"pair": 1.0})
        with soft_oracle(config, tmp_path / "run") as oracle:
            logits(oracle, 2)
            served.restart()
            np.testing.assert_array_equal(logits(oracle, 4), logits(FakeOracle(), 4))
            tasks = served.tasks
            served.restart()
            served.tasks = tasks  # it has forgotten the images alone
            np.testing.assert_array_equal(logits(oracle, 6), logits(FakeOracle(), 6))
            bill = oracle.bill
    assert set(served.answered.values()) == {1}, "nothing that was answered is asked again"
    assert bill.cost == 6 * len(PIXELS) * 3
    assert bill.refused >= 2


def test_a_server_that_always_forgets_ends_the_question(tmp_path: Path) -> None:
    served = CraftRayServer(FakeOracle())

    def forgetting(request: Request) -> Reply:
        reply = served.serve(request)
        served.restart()
        return reply

    with (
        model_server(forgetting) as server,
        soft_oracle(endpoint(server.url, "craft_ray"), tmp_path / "run") as oracle,
        pytest.raises(OracleError, match="not_registered"),
    ):
        logits(oracle)


def ask_of_another_task(oracle: SoftEndpointOracle) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(png_files(PIXELS))
    other = TaskHandle("0" * 64, 3, task.initial_context)
    oracle.predict(other, images, contexts_of(task, 1))


def ask_of_other_images(oracle: SoftEndpointOracle) -> None:
    task = oracle.register_task(TASK)
    oracle.predict(task, ImageHandle("0" * 64, 1), contexts_of(task, 1))


def ask_unnormalized(oracle: SoftEndpointOracle) -> None:
    task, images = oracle.register_task(TASK), oracle.register_images(png_files(PIXELS))
    oracle.predict(task, images, contexts_of(task, 1), "unnormalized_logits")


def ask_of_a_long_name(oracle: SoftEndpointOracle) -> None:
    oracle.register_task(ClassificationTask((" ".join("word" for _ in range(20)), "cat")))


@pytest.mark.parametrize(
    ("message", "ask"),
    [
        ("task: 000000000000 must be registered first", ask_of_another_task),
        ("images: 000000000000 must be registered first", ask_of_other_images),
        ("answer: must be one of", ask_unnormalized),
        ("status 422: refused: .* must have at most 16 tokens", ask_of_a_long_name),
    ],
)
def test_what_cannot_be_asked_is_refused(
    message: str, ask: Callable[[SoftEndpointOracle], None], tmp_path: Path
) -> None:
    with (
        model_server(CraftRayServer(FakeOracle()).serve) as server,
        soft_oracle(endpoint(server.url, "craft_ray"), tmp_path / "run") as oracle,
        pytest.raises(OracleError, match=message),
    ):
        ask(oracle)
    assert all(request.path != "/v1/predict" for request in server.requests)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"options": {"labels": 2}}, r"oracle.options: must be empty for dialect craft_ray"),
        ({"prices": {"image": 1, "request": 1}}, r"oracle.prices: must be of pairs .*request"),
    ],
)
def test_settings_that_do_not_fit(
    settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    config = endpoint("http://127.0.0.1:9", "craft_ray", **settings)
    with pytest.raises(OracleError, match=message), soft_oracle(config, tmp_path / "run"):
        pass
