"""The clients that others have written, as they are, ask the real application."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from openai import OpenAI

from craft_ray.data.dataset import Item
from craft_ray.data.pixels import plain_pixels
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import ClassificationTask
from tests.service.http.conftest import OneAtATime
from tests.service.http.test_protocol import PICTURES

GIVES = {"hugging_face": True, "embeddings": True}
LABELS = ["cat", "dog", "ship", "cat"]
"""One twice, as people write them."""


@pytest.fixture
def served(service: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> TestClient:
    client = service(gives=GIVES)
    import huggingface_hub.inference._client as hub

    monkeypatch.setattr(hub, "get_session", lambda: client)
    return client


def pixels_of(oracle: OneAtATime, *pictures: bytes) -> Any:
    items = [Item(data, 0, "") for data in pictures]
    return plain_pixels(items, oracle.describe().transform)


def test_zero_shot_of_hugging_face(
    served: TestClient, embedded: OneAtATime, tmp_path: Path
) -> None:
    client = InferenceClient(f"{served.base_url}/hf")
    told = client.zero_shot_image_classification(
        PICTURES[0], candidate_labels=LABELS, hypothesis_template="a photo of a {}."
    )
    task = embedded.register_task(ClassificationTask(("cat", "dog", "ship")))
    images = embedded.register_images(pixels_of(embedded, PICTURES[0]))
    logits = embedded.predict(task, images, task.initial_context[None])[0].astype(np.float64)
    wanted = dict(zip(("cat", "dog", "ship"), softmax(logits)[0], strict=True))
    assert {each.label: each.score for each in told} == pytest.approx(wanted)
    assert [each.score for each in told] == sorted(wanted.values(), reverse=True)
    with pytest.raises(HfHubHTTPError, match="must be a readable image") as refused:
        client.zero_shot_image_classification(b"no image", candidate_labels=["cat", "dog"])
    assert refused.value.response.status_code == 422
    assert served.get("/v1/usage").json()["pairs_by_route"] == {"hf": 3}
    assert not list(tmp_path.rglob("answers/*/*"))  # nobody can ask for it once more
    told_again = [
        served.post(
            "/hf",
            headers={"Idempotency-Key": "one"},
            json={
                "inputs": base64.b64encode(PICTURES[0]).decode(),
                "parameters": {"candidate_labels": ["cat", "dog"]},
            },
        )
        for _ in range(2)
    ]
    assert told_again[1].headers["idempotency-replayed"] == "true"
    assert told_again[1].json() == told_again[0].json()


@pytest.fixture
def openai_client(served: TestClient) -> OpenAI:
    url = f"{served.base_url}/v1"
    return OpenAI(api_key="nobody's", base_url=url, http_client=served, max_retries=0)


def test_embeddings_of_openai(
    served: TestClient, openai_client: OpenAI, embedded: OneAtATime
) -> None:
    uri = "data:image/png;base64," + base64.b64encode(PICTURES[1]).decode()
    inputs = ["a photo of a cat.", uri, "a dog"]
    as_floats = openai_client.embeddings.create(
        model="service", input=inputs, encoding_format="float"
    )
    in_base64 = openai_client.embeddings.create(model="service", input=inputs)  # its default
    rows = [np.array(each.embedding, np.float32) for each in as_floats.data]
    assert [each.index for each in as_floats.data] == [0, 1, 2]
    for row, other in zip(rows, in_base64.data, strict=True):
        assert np.array_equal(row, np.array(other.embedding, np.float32))
    images = embedded.register_images(pixels_of(embedded, PICTURES[1]))
    assert np.array_equal(rows[1], embedded.embed_images(images)[0])
    assert np.array_equal(np.stack(rows[::2]), embedded.embed_texts([inputs[0], inputs[2]]))
    assert np.linalg.norm(rows[1]) == pytest.approx(1.0, abs=1e-5)
    one = openai_client.embeddings.create(model="service", input="a dog")
    assert np.array_equal(
        np.array(one.data[0].embedding, np.float32), embedded.embed_texts(["a dog"])[0]
    )
    assert served.get("/v1/usage").json()["pairs_by_route"] == {"embeddings": 7}
    with pytest.raises(openai.UnprocessableEntityError, match="base64"):
        openai_client.embeddings.create(model="service", input="data:image/png;base64,#")
