"""Requests and answers by the schemas that the endpoints' owners publish, written by hand.

Each file says where its schema is from (`source`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.oracle.endpoints.adapter import requests_of
from craft_ray.oracle.endpoints.capabilities import Limits
from craft_ray.oracle.endpoints.joining import join
from craft_ray.oracle.endpoints.registry import ADAPTERS, make_adapter
from craft_ray.oracle.endpoints.wire import ImageFile, Question, Reply, Units

FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))


def golden(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_sent_and_what_is_understood(path: Path) -> None:
    case = golden(path)
    options = case["options"]
    if "limits" in options:
        options = {**options, "limits": Limits(**options["limits"])}
    adapter = make_adapter(case["dialect"], options)
    question = Question(
        tuple(ImageFile(b"\x89PNG\r\n\x1a\n" + name.encode()) for name in case["images"]),
        tuple(case["texts"]),
    )
    requests = requests_of(adapter, question)
    sent = [
        {"method": request.method, "path": request.path, "body": json.loads(request.body)}
        for request in requests
    ]
    exchanges = case["exchanges"]
    assert sent == [{"method": "POST", "path": e["path"], "body": e["body"]} for e in exchanges]
    assert all(request.headers["Content-Type"] == "application/json" for request in requests)

    answers = []
    for request, exchange in zip(requests, exchanges, strict=True):
        reply = exchange["reply"]
        received = Reply(reply["status"], reply["headers"], json.dumps(reply["body"]).encode())
        assert adapter.classify(request, received, now=0.0) is None
        answers.append(adapter.decode(question, request, received))
    served = sorted(adapter.capabilities().answers)[0]
    values = join(question, answers, served)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, case["values"], rtol=1e-6, atol=1e-7)
    told = {
        name: sum(getattr(answer.told, name) for answer in answers)
        for name in vars(Units())
        if all(getattr(answer.told, name) is not None for answer in answers)
    }
    assert told == case["told"]


def test_each_dialect_has_a_golden_file_with_its_source() -> None:
    assert {golden(path)["dialect"] for path in FILES} == set(ADAPTERS)
    assert all(len(golden(path)["source"]) > 10 for path in FILES)
