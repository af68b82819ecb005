"""An address at which nobody listens is told at once."""

from __future__ import annotations

import socket

import pytest

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.remote.listening import nobody_listens


def endpoint(url: str) -> EndpointConfig:
    return EndpointConfig(kind="http", url=url, dialect="craft_ray")


def test_a_refused_connection_is_told_and_an_accepted_one_is_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        config = endpoint(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert nobody_listens(config) == (
            f"Nobody listens at {config.url} (connection refused): it is tried again for 120 s."
        )
        server.listen()
        assert nobody_listens(config) is None


def test_what_a_proxy_reaches_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(socket, "create_connection", None)
    assert nobody_listens(endpoint("http://models.example")) is None


def test_a_model_that_is_loaded_has_no_address() -> None:
    assert nobody_listens(OracleConfig()) is None
