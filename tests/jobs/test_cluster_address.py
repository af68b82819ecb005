"""A cluster that is not there is said within seconds; Ray would try it for many minutes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from craft_ray.errors import ConfigError
from craft_ray.jobs import cluster_address
from craft_ray.jobs.cluster_address import check_reachable, host_and_port


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(cluster_address, "TRY_FOR_S", 0.2)


def closed_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://head:10001", ("head", 10001)),
        ("ray://head", ("head", 10001)),
        ("[::1]:6379", ("::1", 6379)),
        ("https://anyscale/x:1", None),
        ("local", None),
    ],
)
def test_where_a_cluster_listens(address: str, place: tuple[str, int] | None) -> None:
    assert host_and_port(address) == place


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_a_dead_address(form: str) -> None:
    address = form.format(port=closed_port())
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="must be a running Ray, but nobody answers there") as got:
        check_reachable(address)
    assert repr(address) in str(got.value)
    assert "unset RAY_ADDRESS" in str(got.value)
    assert time.monotonic() - begun < 10


def test_a_name_that_no_one_has_is_not_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_address, "TRY_FOR_S", 1000.0)
    with pytest.raises(ConfigError, match="nobody answers there"):
        check_reachable("no-such-host.invalid:6379")


def test_auto_follows_the_address_that_a_killed_cluster_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    with pytest.raises(ConfigError, match="'auto' must be a running Ray"):
        check_reachable("auto")
    (tmp_path / "ray").mkdir()
    stale = f"127.0.0.1:{closed_port()}"
    (tmp_path / "ray" / "ray_current_cluster").write_text(stale)
    with pytest.raises(ConfigError, match="nobody answers there") as got:
        check_reachable("auto")
    assert f"'auto' ({stale})" in str(got.value)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def answer_with(server: socket.socket, words: bytes) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(words)

    threading.Thread(target=serve, daemon=True).start()


def test_who_speaks_grpc_is_left_to_ray(listener: socket.socket) -> None:
    answer_with(listener, bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    check_reachable(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_something_else_on_the_port_is_refused(
    form: str, words: bytes, listener: socket.socket
) -> None:
    answer_with(listener, words)
    with pytest.raises(ConfigError, match="no Ray, or hangs"):
        check_reachable(form.format(port=listener.getsockname()[1]))


def test_who_says_nothing_is_refused_within_seconds(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_address, "ANSWER_WITHIN_S", 0.2)
    with pytest.raises(ConfigError, match="no Ray, or hangs"):
        check_reachable(f"127.0.0.1:{listener.getsockname()[1]}")


def test_with_tls_ray_judges(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    check_reachable(f"127.0.0.1:{listener.getsockname()[1]}")
