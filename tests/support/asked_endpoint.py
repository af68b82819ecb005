"""An endpoint of a small server as an oracle, with its records in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.oracle.endpoints.wire import Reply, Request
from craft_ray.oracle.remote.opening import EndpointOracle, open_endpoint, read_secret
from craft_ray.oracle.remote.records import records_of_run
from craft_ray.oracle.remote.soft_oracle import SoftEndpointOracle
from craft_ray.oracle.remote.text_oracle import TextEndpointOracle
from tests.oracle.endpoints.servers import MODEL, answer
from tests.support.model_server import Served


def speaking(dialect: str) -> Served:
    """The server of a dialect."""

    def serve(request: Request) -> Reply:
        return answer(dialect, request)

    return serve


def endpoint(url: str, dialect: str = "infinity", **settings: Any) -> EndpointConfig:
    """Settings that such a server takes."""
    document = {"kind": "http", "dialect": dialect, "url": url, "model": MODEL}
    return EndpointConfig.model_validate(document | settings)


@contextmanager
def opened(
    config: EndpointConfig, folder: Path, max_cost: float | None = None
) -> Iterator[EndpointOracle]:
    """The oracle, as the run in `folder` has it."""
    folder.mkdir(parents=True, exist_ok=True)
    records = records_of_run(config, folder, max_cost)
    with open_endpoint(config, read_secret(config), records) as oracle:
        yield oracle


@contextmanager
def text_oracle(
    config: EndpointConfig, folder: Path, max_cost: float | None = None
) -> Iterator[TextEndpointOracle]:
    """Of an endpoint that takes texts."""
    with opened(config, folder, max_cost) as oracle:
        assert isinstance(oracle, TextEndpointOracle)
        yield oracle


@contextmanager
def soft_oracle(
    config: EndpointConfig, folder: Path, max_cost: float | None = None
) -> Iterator[SoftEndpointOracle]:
    """Of an endpoint that speaks craft-ray's own protocol."""
    with opened(config, folder, max_cost) as oracle:
        assert isinstance(oracle, SoftEndpointOracle)
        yield oracle
