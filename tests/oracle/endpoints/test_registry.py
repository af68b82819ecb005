"""Adapters by name, and users' own."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import Adapter, requests_of
from craft_ray.oracle.endpoints.capabilities import Capabilities
from craft_ray.oracle.endpoints.joining import join
from craft_ray.oracle.endpoints.registry import ADAPTERS, make_adapter
from craft_ray.oracle.endpoints.wire import ImageFile, Question, address
from tests.oracle.endpoints.servers import expected_logits, image, json_reply, logits
from tests.support.imports import found_among, loaded_by

HERE = "tests.oracle.endpoints"
OWN = f"{HERE}.own_adapter:OwnAdapter"


@pytest.mark.parametrize("dialect", ADAPTERS)
def test_each_dialect_has_an_adapter(dialect: str) -> None:
    options: dict[str, Any] = {} if dialect.startswith("hf") else {"model": "clip"}
    if dialect == "kserve_v2":
        options["scores"] = "logits"
    adapter: Adapter = make_adapter(dialect, options)
    assert isinstance(adapter.capabilities(), Capabilities)
    assert adapter.capabilities() == adapter.capabilities()


def test_a_users_own_adapter_is_asked_as_the_others() -> None:
    adapter = make_adapter(OWN, {"labels": 2})
    question = Question((image("a"), image("b")), ("a cat", "a dog", "a hen"))
    answers = []
    requests = requests_of(adapter, question)
    assert len(requests) == 4
    for request in requests:
        asked = json.loads(request.body)
        row = logits(base64.b64decode(asked["subject"]), asked["prompt"])
        answers.append(adapter.decode(question, request, json_reply({"similarity": row.tolist()})))
    np.testing.assert_array_equal(join(question, answers, "cosine"), expected_logits(question))


class NoAdapter:
    """Lacks what is needed."""

    def encode(self) -> None:
        """Of no use."""


class DeclaresNothing(NoAdapter):
    """Has the methods, but not what they return."""

    def capabilities(self) -> None:
        """None."""

    decode = classify = NoAdapter.encode


@pytest.mark.parametrize(
    ("dialect", "options", "words"),
    [
        ("vlm", {}, r"must be one of infinity, vllm, .* or my.module:Adapter, but got 'vlm'"),
        ("infinity", {}, r"oracle.options: do not fit infinity: .*'model'"),
        ("infinity", {"model": "m", "modle": 1}, r"oracle.options: .*'modle'"),
        ("infinity", {"model": "m", "dimensions": "wide"}, r"dimensions: .*but got 'wide'"),
        ("hf_zero_shot", {"sigmoid": "perhaps"}, r"sigmoid: .*but got 'perhaps'"),
        ("hf_zero_shot", {"decimals": "x"}, r"decimals: .*but got 'x'"),
        ("kserve_v2", {"model": "m"}, r"must have the name of an output tensor"),
        ("kserve_v2", {"model": "m", "scores": "s", "scores_are": "label"}, r"scores_are: must be"),
        (
            "no.such.module:Adapter",
            {},
            r"No module named 'no'; PYTHONPATH=\. before",
        ),
        (f"{HERE}.own_adapter:Other", {}, r"has no attribute 'Other'"),
        (":Adapter", {}, r"can be imported"),
        (OWN, {"words": 3}, r"oracle.options: do not fit .*OwnAdapter: .*'words'"),
        (f"{HERE}.test_registry:NoAdapter", {}, r"has no capabilities, decode, classify"),
        (f"{HERE}.test_registry:DeclaresNothing", {}, r"must return Capabilities, but .* NoneType"),
    ],
)
def test_what_is_no_adapter_is_said(dialect: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OracleError, match=words):
        make_adapter(dialect, options)


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://host", "/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/", "/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/v1", "/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/v1/embeddings", "/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/a/v1/", "/v1/embeddings", "https://host/a/v1/embeddings"),
        ("https://host/v1", "/embeddings", "https://host/v1/embeddings"),
        ("https://v1", "/v1/embeddings", "https://v1/v1/embeddings"),
        ("https://host/x:predict", "", "https://host/x:predict"),
    ],
)
def test_addresses(url: str, path: str, expected: str) -> None:
    assert address(url, path) == expected


@pytest.mark.parametrize(
    ("start", "media_type"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"BM\x10", "image/bmp"),
        (b"II*\x00", "image/tiff"),
    ],
)
def test_an_image_is_known_by_its_bytes(start: bytes, media_type: str) -> None:
    file = ImageFile(start + b"...", "photo.txt")
    assert file.media_type == media_type
    assert file.data_uri.startswith(f"data:{media_type};base64,")
    with pytest.raises(OracleError, match=r"but photo.jpg begins with b'<svg>'"):
        _ = ImageFile(b"<svg>", "photo.jpg").media_type


def test_the_room_is_light() -> None:
    heavy = "torch ray mlflow pandas scipy open_clip PIL httpx httpx2 requests"
    modules = "registry", "craft_ray_protocol"
    program = "; ".join(f"import craft_ray.oracle.endpoints.{module}" for module in modules)
    assert not found_among(loaded_by(program), heavy.split())


@pytest.mark.parametrize("decimals", [-3, 0, 400])
def test_scores_are_rounded_to_some_decimals(decimals: int) -> None:
    """Of -3, every score would be taken for 500."""
    with pytest.raises(OracleError, match=rf"decimals: must be between 1 and 20.* got {decimals}"):
        make_adapter("hf_zero_shot", {"decimals": decimals}).capabilities()
