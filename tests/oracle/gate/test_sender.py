"""An attempt against servers that send what they like, as slowly as they like."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from craft_ray.oracle.endpoints.wire import Reply
from craft_ray.oracle.gate.sender import Broken, Sender
from craft_ray.oracle.gate.settings import GateSettings
from tests.oracle.gate.dialogues import requests

SLOW_S = 20.0


@contextmanager
def raw_server(pieces: Sequence[bytes], rest_s: float) -> Iterator[str]:
    """Reads a request, sends the pieces with a rest after each, and closes the connection."""
    has_ended = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"}"):
                    asked += connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    if has_ended.wait(rest_s):
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            has_ended.set()
    thread.join(5)


def drips(text: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in text]


HEAD = b"HTTP/1.1 200 OK\r\n"
ZIPPED = gzip.compress(b"x" * 1000)


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, *drips(b"X-Long: " + b"a" * 100)],
        [HEAD + b"Content-Length: 100\r\n\r\n", *drips(b"a" * 100)],
        [HEAD + b"\r\n", *drips(b"a" * 100)],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", *drips(b"a" * 100)],
        [HEAD + b"Content-Encoding: gzip\r\n\r\n", *drips(ZIPPED)],
        [b"HTTP/1.1 102 Processing\r\n\r\n"] * 100,
        [b"", b""],
    ],
    ids=["headers", "body", "no length", "chunk", "gzip", "1xx", "nothing"],
)
def test_an_attempt_ends_in_time_however_a_reply_drips(pieces: list[bytes]) -> None:
    rest_s = SLOW_S if len(pieces) == 2 else 0.1
    with raw_server(pieces, rest_s) as url:
        sender = Sender(GateSettings(url, timeout_s=0.5))
        started = time.monotonic()
        reply = sender.send(requests(1)[0], "key")
        assert time.monotonic() - started < 2
        sender.close()
    assert isinstance(reply, Broken)
    assert (reply.was_sent, reply.was_slow, reply.again) == (True, True, True)


def test_a_reply_without_a_length_ends_with_its_connection() -> None:
    with raw_server([HEAD + b"\r\n", b"whole"], 0.01) as url:
        sender = Sender(GateSettings(url, timeout_s=5))
        reply = sender.send(requests(1)[0], "key")
        sender.close()
    assert isinstance(reply, Reply)
    assert reply.body == b"whole"
