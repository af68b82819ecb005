"""What speaks to the small model of `tests.support.fault_proxy`, and the runs that ask it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.wire import AnswerError, Part, Reply, Request, Units
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from craft_ray.oracle.gate.settings import GateSettings, Secret
from tests.support.fault_proxy import FaultProxy, feature

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
        "timeout_s": 1.0,
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


class World:
    """A model behind a proxy, and the folder of a run that asks it."""

    def __init__(self, folder: Path, proxy: FaultProxy, url: str) -> None:
        self.folder, self.proxy, self.url = folder, proxy, url
        self.model = proxy.model

    @contextmanager
    def gate(self, **given: Any) -> Iterator[tuple[Gate, BillLedger, AnswerStore]]:
        """Open on the run's files."""
        with opened(self.folder, settings(self.url, **given)) as parts:
            yield parts


@contextmanager
def opened(
    folder: Path, chosen: GateSettings, answers: Path | None = None
) -> Iterator[tuple[Gate, BillLedger, AnswerStore]]:
    """A gate on the files of a folder."""
    with (
        BillLedger(folder / "bill.db", folder.name, chosen.prices, chosen.max_cost) as bill,
        AnswerStore(answers or folder / "answers.db") as store,
        Gate(chosen, bill, store) as gate,
    ):
        yield gate, bill, store


def answers_of(gate: Gate, asked: Sequence[Request]) -> list[tuple[Request, Answered]]:
    return list(gate.ask(asked, Dialogue()))


def check(asked: Sequence[Request], answers: Sequence[tuple[Request, Answered]]) -> None:
    """Each request has its answer, once."""
    assert sorted(request.body for request, _ in answers) == sorted(r.body for r in asked)
    for request, (features, _) in answers:
        np.testing.assert_array_equal(features, [feature(text) for text in texts_of(request)])


def keys_of(asked: Sequence[Request]) -> list[bytes]:
    """What their answers are kept under."""
    return [content(text) for request in asked for text in texts_of(request)]
