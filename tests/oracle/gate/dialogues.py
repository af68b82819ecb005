"""What speaks to the small model of `tests.support.fault_proxy`, and the runs that ask it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.wire import AnswerError, Part, Reply, Request, Units
from craft_ray.oracle.gate.settings import GateSettings, Secret

KEY = "sk-a/very+secret=key"
PRICES = (Price("text", 0.001), Price("request", 0.01))

Features = npt.NDArray[Any]
Answered = tuple[Features, int]
"""Features, and tokens as told."""


def settings(url: str, **given: Any) -> GateSettings:
    """With waits that a test can afford."""
    usual: dict[str, Any] = {
        "secret": Secret(KEY),
        "limits": Limits(concurrency=8),
        "prices": PRICES,
        "timeout_s": 0.3,
        "longest_wait_s": 5.0,
        "first_backoff_s": 0.005,
        "longest_backoff_s": 0.05,
    }
    return GateSettings(url, **(usual | given))


def requests(number: int, texts: int = 2) -> list[Request]:
    """Different ones."""
    return [request_of([f"text {row}-{place}" for place in range(texts)]) for row in range(number)]


def request_of(texts: Sequence[str]) -> Request:
    part = Part(texts=tuple(range(len(texts))))
    return json_request("/features", {"texts": list(texts)}, part)


def texts_of(request: Request) -> list[str]:
    texts: list[str] = json.loads(request.body)["texts"]
    return texts


def content(text: str) -> bytes:
    """What an answer about a text is kept under."""
    return hashlib.sha256(text.encode()).digest()


class Dialogue:
    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return classify_status(request, reply, now)

    def decode(self, request: Request, reply: Reply) -> Answered:
        try:
            document = json.loads(reply.body)
            features = np.array(document["features"], dtype=np.float64)
            if features.shape != (len(request.part.texts), 3):
                raise ValueError(features.shape)
            return features, int(document["tokens"])
        except ValueError as error:
            raise AnswerError(f"not an answer: {error}", again=True) from error

    def split(self, request: Request) -> Sequence[Request]:
        texts = texts_of(request)
        middle = len(texts) // 2
        return [request_of(half) for half in (texts[:middle], texts[middle:])] if middle else []

    def entries(self, request: Request, answer: Answered) -> Sequence[tuple[bytes, Features]]:
        keys = [content(text) for text in texts_of(request)]
        return list(zip(keys, answer[0], strict=True))

    def told(self, answer: Answered) -> Units:
        return Units(tokens=answer[1])
