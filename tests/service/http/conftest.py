"""The whole application over the embedded oracle in this process, without Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from craft_ray.config.oracle import OracleConfig
from craft_ray.config.service import ServiceConfig
from craft_ray.oracle.features import FeatureClipOracle
from craft_ray.service.asking import Asker
from craft_ray.service.http.app import make_app
from craft_ray.service.http.desk import Desk
from craft_ray.service.http.foreign import foreign_routes
from craft_ray.service.meter.meter import Meter

AT_A_TIME = 2


class OneAtATime:
    """The embedded oracle, of which threads take turns."""

    def __init__(self, oracle: FeatureClipOracle) -> None:
        self._oracle, self._lock = oracle, threading.Lock()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            with self._lock:
                self.asked.append(name)
                return getattr(self._oracle, name)(*words, **more)

        return call


@pytest.fixture(scope="session")
def embedded() -> OneAtATime:
    return OneAtATime(FeatureClipOracle.load(OracleConfig(features=True)))


def desk_of(folder: Path, oracle: OneAtATime, meter: Meter, **settings: Any) -> Desk:
    config = ServiceConfig.model_validate(
        {"folder": str(folder / "service"), "oracle": {"features": True}, **settings}
    )
    chunk = config.pool.candidates_per_chunk
    return Desk(config, meter, Asker(lambda: oracle, oracle.knows, chunk, AT_A_TIME))


MakeClient = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def service(tmp_path: Path, embedded: OneAtATime) -> Iterator[Callable[..., TestClient]]:
    """A client of a service with these settings; `keys=FILE` for one with keys."""
    with ExitStack() as stack:

        def start(keys: Path | None = None, **settings: Any) -> TestClient:
            return stack.enter_context(_running(tmp_path, embedded, keys, settings))

        yield start


@contextmanager
def _running(
    folder: Path, oracle: OneAtATime, keys: Path | None, settings: dict[str, Any]
) -> Iterator[TestClient]:
    path = keys or folder / "meter.db"
    meter = Meter(path, 0.0, needs_keys=keys is not None, look_every_s=0.0)
    desk = desk_of(folder, oracle, meter, **settings)
    app = make_app(desk, [foreign_routes(desk)])
    try:
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client
    finally:
        meter.close()
