"""The dialect `infinity` against infinity-emb itself, which serves a small CLIP here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from craft_ray.oracle.endpoints.adapter import requests_of
from craft_ray.oracle.endpoints.capabilities import Limits
from craft_ray.oracle.endpoints.openai_embeddings import OpenAIEmbeddings
from craft_ray.oracle.endpoints.wire import (
    AnswerError,
    FloatArray,
    ImageFile,
    Question,
    Request,
    Units,
)
from tests.support.foreign_environment import python_or_skip, run_program
from tests.support.images import encoded, noise
from tests.support.infinity_server import INFINITY, KEY, NAME, infinity_server
from tests.support.plain_client import PlainClient, plain_client

MAX_TOKENS = 20
"""Infinity cuts texts there, whatever CLIP itself takes (77): it reads `max_length` of the model's
settings, which `transformers` below 5 sets to 20 for all models."""
TEXTS = (
    "a photo of a cat.",
    "the dog",
    "ein Käfer, 猫 \N{SNAKE}",
    "x",
    "a photo of " + "the animal of the north " * 30,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # the first time, its environment is built
    pytest.mark.nightly(
        "craft_ray/oracle",
        "tests/oracle/endpoints",
        "tests/support/foreign_environment.py",
        "tests/support/foreign_server.py",
        "tests/support/infinity_server.py",
    ),
]


def pictures() -> dict[str, bytes]:
    """Files of several kinds and shapes."""
    colours = noise(90, 61)
    return {
        "colours.png": encoded(colours),
        "grey.png": encoded(colours.convert("L")),
        "least.png": encoded(noise(4, 5)),  # 3 rows would be taken for 3 colours
        "long.png": encoded(noise(20, 150, seed=1)),
        "palette.gif": encoded(colours.quantize(32), "GIF"),
        "palette.png": encoded(colours.quantize(16)),
        "photo.jpg": encoded(colours, "JPEG", quality=70),
        "photo.webp": encoded(colours, "WEBP"),
        "see_through.png": encoded(colours.convert("RGBA")),
    }


IMAGES = tuple(ImageFile(data, name) for name, data in pictures().items())
INFINITY_ADAPTER = OpenAIEmbeddings(NAME)


@dataclass(frozen=True)
class World:
    python: Path
    model: Path
    folder: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    python = python_or_skip(INFINITY)
    folder = tmp_path_factory.mktemp("infinity")
    run_program(python, "tiny_clip_folder.py", "clip", str(folder / "model"))
    return World(python, folder / "model", folder)


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[PlainClient]:
    with (
        infinity_server(world.python, world.model, world.folder / "server.log") as url,
        plain_client(url, KEY) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def expected(world: World) -> tuple[FloatArray, FloatArray]:
    """Features of images and of texts, by `transformers` without a server."""
    images = world.folder / "images"
    images.mkdir()
    for image in IMAGES:
        (images / image.name).write_bytes(image.data)
    (world.folder / "texts.json").write_text(json.dumps(TEXTS))
    words = (str(world.model), str(world.folder), str(MAX_TOKENS))
    run_program(world.python, "clip_features.py", *words)
    return np.load(world.folder / "images.npy"), np.load(world.folder / "texts.npy")


def only_request(adapter: OpenAIEmbeddings, question: Question) -> Request:
    (request,) = requests_of(adapter, question)
    return request


def test_features_of_images_are_those_of_the_model(
    client: PlainClient, expected: tuple[FloatArray, FloatArray]
) -> None:
    features = client.ask(INFINITY_ADAPTER, Question(images=IMAGES), "image_features")
    np.testing.assert_allclose(features, expected[0], atol=1e-5)
    assert np.abs(features[0] - features[3]).max() > 1e-3  # images are told apart


def test_features_of_texts_are_those_of_the_model(
    client: PlainClient, expected: tuple[FloatArray, FloatArray]
) -> None:
    features = client.ask(INFINITY_ADAPTER, Question(texts=TEXTS), "text_features")
    np.testing.assert_allclose(features, expected[1], atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_long_texts_are_cut_and_nobody_says_so(client: PlainClient) -> None:
    """What docs warn of: `limits.text_characters` refuses such texts before they are sent."""
    start = "th " * MAX_TOKENS
    question = Question(texts=(start + "one end", start + "another end"))
    one, another = client.ask(INFINITY_ADAPTER, question, "text_features")
    np.testing.assert_allclose(one, another, atol=1e-6)


def test_many_images_are_several_requests_in_their_order(client: PlainClient) -> None:
    images = tuple(ImageFile(encoded(noise(seed=seed)), f"{seed}") for seed in range(40))
    together = client.ask(INFINITY_ADAPTER, Question(images=images), "image_features")
    assert [len(answer.part.images) for answer in client.answers] == [32, 8]
    alone = client.ask(INFINITY_ADAPTER, Question(images=images[35:36]), "image_features")
    np.testing.assert_allclose(together[35:36], alone, atol=1e-6)


def test_tokens_are_told_for_texts_only(client: PlainClient) -> None:
    """For images, infinity tells the length of what was sent."""
    client.ask(INFINITY_ADAPTER, Question(texts=TEXTS[:2]), "text_features")
    (answer,) = client.answers
    assert answer.told.tokens
    client.ask(INFINITY_ADAPTER, Question(images=IMAGES[:1]), "image_features")
    (answer,) = client.answers
    assert answer.told == Units()


@pytest.mark.parametrize("key", ["Bearer wrong-key-of-the-tests", ""])
def test_a_wrong_key_is_final_and_not_billed(client: PlainClient, key: str) -> None:
    request = only_request(INFINITY_ADAPTER, Question(texts=("x",)))
    verdict = client.verdict(INFINITY_ADAPTER, request, Authorization=key)
    assert (verdict.action, verdict.billed) == ("never", "no")
    assert verdict.message.startswith("status 401")
    assert "api_key_env" in verdict.message
    assert "wrong-key" not in verdict.message


def test_more_images_than_it_takes_are_refused_for_good(client: PlainClient) -> None:
    adapter = OpenAIEmbeddings(NAME, limits=Limits(images=33))
    images = tuple(ImageFile(encoded(noise(seed=seed)), f"{seed}") for seed in range(33))
    verdict = client.verdict(adapter, only_request(adapter, Question(images=images)))
    assert (verdict.action, verdict.billed) == ("never", "no")
    assert verdict.message.startswith("status 422")
    assert "oracle.limits" in verdict.message
    assert len(verdict.message) < 500  # the server repeats the images


def test_a_broken_image_is_refused_for_good(client: PlainClient) -> None:
    """Only where its head is broken. After half of an image, infinity answers nobody any more."""
    broken = ImageFile(IMAGES[0].data[:8] + b"nothing more", "broken.png")
    request = only_request(INFINITY_ADAPTER, Question(images=(broken,)))
    verdict = client.verdict(INFINITY_ADAPTER, request)
    assert (verdict.action, verdict.billed) == ("never", "no")
    assert verdict.message.startswith("status 400")


def test_another_models_answer_is_not_taken(client: PlainClient) -> None:
    """With one model served, infinity answers whatever name is asked for."""
    with pytest.raises(AnswerError, match="nobody"):
        client.ask(OpenAIEmbeddings("nobody"), Question(texts=("x",)), "text_features")


def test_a_full_queue_is_waited_for(world: World) -> None:
    texts = tuple(f"text {number}" for number in range(2000))
    request = only_request(INFINITY_ADAPTER, Question(texts=texts))
    log = world.folder / "full.log"
    with (
        infinity_server(world.python, world.model, log, queue_size=1) as url,
        plain_client(url, KEY) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        replies = list(threads.map(client.send, [request] * 8))
    refused = [reply for reply in replies if reply.status == 429]
    assert refused
    assert len(refused) < len(replies)
    for reply in refused:
        verdict = INFINITY_ADAPTER.classify(request, reply, now=0)
        assert verdict is not None
        assert (verdict.action, verdict.billed, verdict.wait_s) == ("retry", "no", None)
        assert "overloaded" in verdict.message
