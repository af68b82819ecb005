"""The server that one tries an endpoint with refuses what it does not speak, and answers always:
else a wrong dialect looks like a server that is down, for two minutes."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.embedded_server import Embedder, Handler
from tests.support.images import encoded, noise


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    class WithModel(Handler):
        embedder = Embedder()

    server = ThreadingHTTPServer(("127.0.0.1", 0), WithModel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def status(url: str, document: Any) -> int:
    request = urllib.request.Request(url, json.dumps(document).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_what_it_speaks_is_answered(url: str) -> None:
    image = base64.b64encode(encoded(noise())).decode()
    uri = f"data:image/png;base64,{image}"
    assert status(url + "/embeddings", {"input": ["a cat"]}) == 200
    assert status(url + "/embeddings", {"input": [uri], "modality": "image"}) == 200


@pytest.mark.parametrize(
    ("path", "document", "refusal"),
    [
        ("/", {"inputs": "aGk=", "parameters": {"candidate_labels": ["cat"]}}, 404),  # Hugging Face
        ("/v2/embed", {"texts": ["a cat"], "model": "embedded"}, 404),  # Cohere
        ("/embeddings", {"texts": ["a cat"]}, 422),
        ("/embeddings", ["a cat"], 422),
        ("/embeddings", {"input": [1]}, 400),
        ("/embeddings", {"input": ["data:image/png;base64,AA"], "modality": "image"}, 400),
    ],
)
def test_what_it_does_not_speak_is_refused(
    url: str, path: str, document: Any, refusal: int
) -> None:
    assert status(url + path, document) == refusal
