"""Whatever a client sends, the OpenAPI page has told what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack
from tests.support.tuning_service import fake_service

EXAMPLES = 15
"""Of each route, half of them against the page's own words."""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "task": st.just("0" * 64) | JUNK,
        "images": st.just(["0" * 64]) | JUNK,
        "answer": st.just("logits") | JUNK,
        "reduction": st.just({"kind": "prompt_loss", "consistency": 10**400}) | JUNK,
    },
)
ARRAYS = st.dictionaries(
    st.sampled_from(["contexts", "labels", "known", "head.enter.weight"]),
    npst.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
        npst.array_shapes(max_dims=4, min_side=0, max_side=3),
        elements=st.integers(0, 2),
    ),
)
schemathesis.openapi.media_type(MEDIA_TYPE, st.builds(pack, ARRAYS, DOCUMENTS) | st.binary())


@schemathesis.serializer(MEDIA_TYPE)
def _as_it_is(_: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def operations(app: FastAPI) -> Iterator[Any]:
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        yield found.ok()  # type: ignore[union-attr]


def ask_all(app: FastAPI, token: str) -> list[str]:
    """Returns the names of the routes that were asked."""
    asked = []
    for operation in operations(app):
        cases = st.one_of([operation.as_strategy(mode) for mode in GenerationMode])

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def ask(case: Case[Any]) -> None:
            response = case.call(headers={"Authorization": f"Bearer {token}"})
            case.validate_response(response, checks=CHECKS)

        ask()
        asked.append(operation.label)
    return asked


@pytest.mark.slow
def test_of_answers(service: Callable[..., TestClient]) -> None:
    client = service(gives={"hugging_face": True, "embeddings": True})
    assert isinstance(client.app, FastAPI)
    assert len(ask_all(client.app, "nobody's")) == 10


@pytest.mark.slow
def test_of_tunings(tmp_path: Path) -> None:
    served = fake_service(tmp_path)
    try:
        assert len(ask_all(served.app(), "anna")) == 15
    finally:
        served.records.close()
