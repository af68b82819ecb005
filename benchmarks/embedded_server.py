"""The embedded oracle behind a small HTTP server that speaks infinity's `/embeddings`: something to
try an endpoint with, on one machine and without a network.

    python -m benchmarks.embedded_server --port 7997
    craft-ray train --endpoint http://127.0.0.1:7997 --dialect infinity --model embedded

It resizes and crops images as the oracle expects them, answers with features of unit length, and
counts what it was asked (`GET /metrics`).
"""

from __future__ import annotations

import argparse
import base64
import json
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.data.dataset import Item
from craft_ray.data.pixels import plain_pixels
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.features import FeatureClipOracle

MODEL = "embedded"
MOST_IMAGES = 32


class Embedder:
    """Features of the embedded oracle, one question at a time."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._oracle = FeatureClipOracle.load(OracleConfig(features=True))
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()

    def images(self, uris: Sequence[str]) -> FloatArray:
        """Of files in data URIs."""
        items = [Item(base64.b64decode(uri.partition(",")[2]), 0, "image") for uri in uris]
        pixels = plain_pixels(items, self._oracle.describe().transform)
        with self._lock:
            self.asked["images"] += len(items)
            return self._oracle.embed_images(self._oracle.register_images(pixels, keep=False))

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Of texts."""
        with self._lock:
            self.asked["texts"] += len(texts)
            return self._oracle.embed_texts(texts)


class Handler(BaseHTTPRequestHandler):
    """Of one request."""

    protocol_version = "HTTP/1.1"
    embedder: Embedder

    def do_GET(self) -> None:
        """Whether it is up, and what it was asked."""
        self._reply(200, dict(self.embedder.asked))

    def do_POST(self) -> None:
        """Features, in the shape of OpenAI's answer."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/embeddings"):
            self._reply(404, {"detail": f"{self.path}: there is /embeddings only"})
            return
        if not isinstance(asked, dict) or not isinstance(asked.get("input"), list):
            self._reply(422, {"detail": "input: must be a list"})
            return
        self.embedder.asked["requests"] += 1
        given = asked["input"]
        is_image = asked.get("modality") == "image"
        if is_image and len(given) > MOST_IMAGES:
            self._reply(422, {"detail": f"at most {MOST_IMAGES} images"})
            return
        try:
            rows = self.embedder.images(given) if is_image else self.embedder.texts(given)
        except (ValueError, AttributeError, TypeError) as error:  # a broken image, a long text
            self._reply(400, {"error": {"message": str(error)}})
            return
        data = [
            {"index": index, "embedding": base64.b64encode(row.tobytes()).decode()}
            for index, row in enumerate(rows)
        ]
        self._reply(200, {"object": "list", "model": MODEL, "data": data})

    def _reply(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embedded_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=7997)
    options = parser.parse_args()
    Handler.embedder = Embedder()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]} answers as model {MODEL!r}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
