"""What a client of the protocol relies on, over the real application and the embedded oracle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from craft_ray.data.dataset import Item
from craft_ray.data.pixels import plain_pixels
from craft_ray.method.reduction import LinearHeadError, PromptLoss
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack, unpack
from tests.service.http.conftest import OneAtATime
from tests.service.meter.world import add_key

Start = Callable[..., TestClient]
TASK = ClassificationTask(("cat", "dog", "ship"))


def picture(seed: int, size: tuple[int, int] = (40, 32), kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


PICTURES = [picture(seed) for seed in range(3)]


def register(client: TestClient, task: ClassificationTask = TASK, **headers: Any) -> list[str]:
    document = {"class_names": list(task.class_names), "template": task.template}
    assert client.post("/v1/tasks", json=document, **headers).status_code == 200
    for data in PICTURES:
        url = f"/v1/images/{digest_of(data)}"
        assert client.put(url, content=data, **headers).status_code in (200, 201)
    return [digest_of(data) for data in PICTURES]


def question(images: list[str], contexts: np.ndarray[Any, Any], **more: Any) -> bytes:
    arrays = {"contexts": contexts, **more.pop("arrays", {})}
    return pack(arrays, {"task": TASK.digest, "images": images, **more})


def ask(client: TestClient, body: bytes, key: str = "one", route: str = "predict", **headers: str):  # type: ignore[no-untyped-def]
    return client.post(
        f"/v1/{route}",
        content=body,
        headers={"Content-Type": MEDIA_TYPE, "Idempotency-Key": key, **headers},
    )


@pytest.fixture
def contexts(embedded: OneAtATime) -> np.ndarray[Any, Any]:
    start = embedded.register_task(TASK).initial_context
    noise = np.random.default_rng(0).normal(size=(23, *start.shape))
    moved: np.ndarray[Any, Any] = (start + 0.05 * noise).astype(np.float32)
    return moved


def test_answers_are_those_of_the_model_to_the_bit(
    service: Start, embedded: OneAtATime, contexts: np.ndarray[Any, Any]
) -> None:
    client = service()
    images = register(client)
    pixels = plain_pixels([Item(data, 0, "") for data in PICTURES], embedded.describe().transform)
    handle, known = embedded.register_task(TASK), embedded.register_images(pixels)

    reply = ask(client, question(images, contexts))
    assert reply.status_code == 200
    assert reply.headers["x-craft-spent"] == str(23 * 3 * 3)
    arrays, _ = unpack(reply.content)
    parts = [embedded.predict(handle, known, contexts[at : at + 10]) for at in (0, 10, 20)]
    assert np.array_equal(arrays["logits"], np.concatenate(parts))

    labels = np.array([0, 1, 2])
    for number, (reduction, more, arrays_sent) in enumerate(
        [
            (
                PromptLoss(labels, None, 0.0),
                {"kind": "prompt_loss", "consistency": 0.0, "has_head": False},
                {"labels": labels},
            ),
            (
                LinearHeadError(labels, 3, np.zeros((3, 1), np.float32)),
                {"kind": "linear_head_error", "num_classes": 3},
                {"labels": labels, "known": np.zeros((3, 1), np.float32)},
            ),
        ]
    ):
        body = question(images, contexts, reduction=more, arrays=arrays_sent)
        reply = ask(client, body, f"score-{number}", "score")
        assert reply.status_code == 200, reply.text
        losses, _ = unpack(reply.content)
        wanted = [
            embedded.score(handle, known, contexts[at : at + 10], reduction) for at in (0, 10, 20)
        ]
        assert np.array_equal(losses["losses"], np.concatenate(wanted))


def test_a_repeated_question_is_answered_from_memory_and_charged_once(
    service: Start, embedded: OneAtATime, contexts: np.ndarray[Any, Any]
) -> None:
    client = service()
    body = question(register(client), contexts[:2])
    first = ask(client, body)
    asked = len(embedded.asked)
    again = ask(client, body)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert "predict" not in embedded.asked[asked:]
    assert client.get("/v1/usage").json()["pairs"] == 2 * 3 * 3
    other = ask(client, question(register(client), contexts[:1]))
    assert (other.status_code, other.json()["code"]) == (422, "another_body")
    assert ask(client, body, "two").content == first.content
    assert client.get("/v1/usage").json()["pairs"] == 2 * 2 * 3 * 3


def test_the_images_and_tasks_of_a_key_are_nobody_elses(
    service: Start, tmp_path: Path, contexts: np.ndarray[Any, Any]
) -> None:
    keys = tmp_path / "keys.db"
    tokens = [add_key(keys, name)[1] for name in ("Ada", "Bob")]
    client = service(keys)
    ada, bob = ({"Authorization": f"Bearer {token}"} for token in tokens)
    images = register(client, headers=ada)
    body = question(images, contexts[:1])
    assert ask(client, body, **ada).status_code == 200
    refused = ask(client, body, **bob)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_registered")
    document = {"class_names": list(TASK.class_names), "template": TASK.template}
    assert client.post("/v1/tasks", json=document, headers=bob).status_code == 200
    refused = ask(client, body, **bob)
    assert refused.json()["detail"].startswith("image")
    # That somebody else has sent a file is not told: it is new to this key.
    url = f"/v1/images/{images[0]}"
    assert client.put(url, content=PICTURES[0], headers=bob).status_code == 201
    assert client.put(url, content=PICTURES[0], headers=ada).status_code == 200
    for nobody in ({}, {"Authorization": "Bearer craft_00000000_x"}, {"Authorization": "Basic x"}):
        refused = ask(client, body, **nobody)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"


def test_a_quota_is_never_exceeded_and_what_is_refused_costs_nothing(
    service: Start, tmp_path: Path, contexts: np.ndarray[Any, Any]
) -> None:
    keys = tmp_path / "keys.db"
    token = add_key(keys, pairs=20)[1]
    client = service(keys)
    ada = {"Authorization": f"Bearer {token}"}
    images = register(client, headers=ada)
    assert ask(client, question(images, contexts[:2]), **ada).headers["x-craft-remaining"] == "2"
    refused = ask(client, question(images, contexts[:1]), "two", **ada)
    assert (refused.status_code, refused.json()["code"]) == (403, "quota_exhausted")
    assert "retry-after" not in refused.headers
    other = question(images, contexts[:1, :, :-1])  # of another width
    assert ask(client, other, "three", **ada).status_code in (403, 422)
    assert client.get("/v1/usage", headers=ada).json()["pairs"] == 18


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("decimals", [None, 2])
def test_probabilities_are_told_as_the_owner_says(
    service: Start,
    embedded: OneAtATime,
    contexts: np.ndarray[Any, Any],
    decimals: int | None,
    top_k: int | None,
) -> None:
    gives = {"kind": "probabilities", "decimals": decimals, "top_k": top_k, "scores": False}
    client = service(gives=gives)
    images = register(client)
    reply = ask(client, question(images, contexts[:2]))
    told = np.exp(unpack(reply.content)[0]["logits"].astype(np.float64))
    pixels = plain_pixels([Item(data, 0, "") for data in PICTURES], embedded.describe().transform)
    exact = embedded.predict(
        embedded.register_task(TASK), embedded.register_images(pixels), contexts[:2]
    )
    probabilities = softmax(exact.reshape(-1, 3).astype(np.float64)).reshape(exact.shape)
    kept = np.sort(probabilities, axis=-1)[..., -(top_k or 3) :]
    seen = np.sort(told, axis=-1)[..., -(top_k or 3) :]
    assert np.abs(seen - kept).max() <= (0.5 * 10**-decimals if decimals else 1e-6) + 1e-9
    if decimals:
        assert np.allclose(told * 10**decimals, np.round(told * 10**decimals), atol=1e-5)
    if not decimals:
        assert told.sum(axis=-1) == pytest.approx(1.0, abs=1e-6)
    reduction = {"kind": "prompt_loss", "consistency": 0.0, "has_head": False}
    body = question(images, contexts[:1], reduction=reduction, arrays={"labels": np.arange(3)})
    assert ask(client, body, "two", "score").status_code == 403


def test_fixed_labels_and_no_soft_prompts(
    service: Start, embedded: OneAtATime, contexts: np.ndarray[Any, Any]
) -> None:
    client = service(gives={"labels": ["cat", "dog", "ship"], "soft_prompts": False})
    images = register(client)
    other = {"class_names": ["cat", "a secret"], "template": "a photo of a {}."}
    assert client.post("/v1/tasks", json=other).json()["code"] == "not_given"
    refused = ask(client, question(images, contexts[:1]))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_given")
    own = embedded.register_task(TASK).initial_context[None]
    assert ask(client, question(images, own), "two").status_code == 200
    assert client.get("/v1/usage").json()["pairs"] == 9


MIRRORS = [
    b"",
    b"{}",
    b"\xff" * 100,
    (2**60).to_bytes(8, "little") + b"{}",
    pack({}, {}),
    pack({"contexts": np.zeros((1, 4, 8), np.float32)}, {"task": "../../etc", "images": ["a"]}),
    pack({"contexts": np.zeros((1, 4, 8))}, {"task": "0" * 64, "images": ["0" * 64]}),
    pack({"contexts": np.full((1, 4, 8), np.nan, np.float32)}, {"task": "0" * 64, "images": []}),
    pack({"contexts": np.zeros((300, 1, 8), np.float32)}, {"task": "0" * 64, "images": ["0" * 64]}),
]


@pytest.mark.parametrize("route", ["predict", "score"])
def test_what_is_no_question_is_refused_in_words(service: Start, route: str) -> None:
    client = service()
    for number, body in enumerate([*MIRRORS, PICTURES[0]]):
        reply = ask(client, body, str(number), route)
        assert reply.status_code in (400, 404, 422), (number, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["detail"]
    assert client.get("/v1/usage").json()["pairs"] == 0


def test_bodies_and_images_are_bounded(service: Start, tmp_path: Path) -> None:
    client = service(bounds={"body_mb": 1, "image_mb": 1, "image_megapixels": 1})
    large = b"\0" * 1_000_001
    assert client.put(f"/v1/images/{digest_of(large)}", content=large).status_code == 413
    pieces = (b"\0" * 100_000 for _ in range(11))  # no length is told
    assert client.put(f"/v1/images/{digest_of(large)}", content=pieces).status_code == 413
    assert ask(client, large).status_code == 413
    bomb = BytesIO()
    Image.new("1", (2000, 2000)).save(bomb, format="PNG")
    data = bomb.getvalue()
    reply = client.put(f"/v1/images/{digest_of(data)}", content=data)
    assert (reply.status_code, reply.json()["code"]) == (422, "image_too_large")
    cut = PICTURES[0][:-200]
    reply = client.put(f"/v1/images/{digest_of(cut)}", content=cut)
    assert (reply.status_code, reply.json()["code"]) == (422, "bad_image")
    reply = client.put(f"/v1/images/{'0' * 64}", content=PICTURES[0])
    assert (reply.status_code, reply.json()["code"]) == (422, "other_digest")
    for path in ("..%2f..%2fetc%2fpasswd", "0" * 63, "A" * 64):
        assert client.put(f"/v1/images/{path}", content=b"x").status_code in (404, 422)
    packed = client.put(
        f"/v1/images/{digest_of(b'x')}", content=b"x", headers={"Content-Encoding": "gzip"}
    )
    assert packed.status_code == 415
    assert not list((tmp_path / "service").rglob("passwd"))


def test_a_head_that_does_not_fit_is_refused_and_not_tried_again(
    service: Start, contexts: np.ndarray[Any, Any]
) -> None:
    client = service()
    images = register(client)
    for number, weight in enumerate([np.zeros((4, 2)), np.zeros((4, 3)), np.full((4, 3), 1e38)]):
        reduction = {"kind": "prompt_loss", "consistency": 0.1, "has_head": True}
        arrays = {"labels": np.arange(3), "head.enter.weight": weight.astype(np.float32)}
        body = question(images, contexts[:1], reduction=reduction, arrays=arrays)
        reply = ask(client, body, str(number), "score")
        assert (reply.status_code, reply.json()["code"]) == (422, "refused"), reply.text
