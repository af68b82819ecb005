"""A small model behind HTTP that bills, and a proxy before it that does to it what networks and
providers do. Real sockets on 127.0.0.1; both run in threads."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Literal, get_args

Fault = Literal[
    "429 seconds",
    "429 milliseconds",
    "429 date",
    "429",
    "503",
    "slow",
    "reset before",
    "reset after",
    "half",
    "garbage",
    "twice",
    "401",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
PASSING = tuple(fault for fault in FAULTS if fault != "401")
"""What ends some time."""

Received = tuple[str, str, bytes, bool]
"""Idempotency key, authorization, body, and whether it has come through to the model."""


def feature(text: str) -> list[float]:
    """What the model answers for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return [byte / 255 for byte in digest[:3]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is shown."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that is gone is what these tests are about."""


class ModelServer:
    """Answers `{"texts": [...]}` with features, and counts what it has billed: texts by the
    digest of their request.

    Args:
        is_idempotent: whether it answers a known `Idempotency-Key` from its memory, unbilled.
        delay_s: that an answer takes.
    """

    def __init__(self, *, is_idempotent: bool, delay_s: float = 0.0) -> None:
        self.billed: Counter[bytes] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._is_idempotent = is_idempotent
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._answers: dict[str, bytes] = {}

    @property
    def billed_texts(self) -> int:
        with self._lock:
            bodies = list(self.billed.elements())
        return sum(len(json.loads(body)["texts"]) for body in bodies)

    def answer(self, key: str, body: bytes) -> tuple[bytes, bool]:
        """The reply's body, and whether it was answered before."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self._delay_s)
        with self._lock:
            self._at_once -= 1
            known = self._answers.get(key) if self._is_idempotent else None
            if known is not None:
                return known, True
            texts = json.loads(body)["texts"]
            document = {"features": [feature(text) for text in texts], "tokens": 3 * len(texts)}
            self.billed[body] += 1
            self._answers[key] = json.dumps(document).encode()
            return self._answers[key], False


class FaultProxy:
    """Stands before the model.

    Args:
        model: behind it.
        fault_of: says for each request, by its number from 0, what happens to it. None: nothing.
        slow_s: how long the fault `slow` takes.
        wait_s: what it asks to wait in the faults 429.
    """

    def __init__(
        self,
        model: ModelServer,
        fault_of: Callable[[int], Fault | None] = lambda number: None,
        slow_s: float = 1.2,
        wait_s: float = 0.01,
    ) -> None:
        self.model = model
        self.received: list[Received] = []
        self._fault_of = fault_of
        self._slow_s, self._wait_s = slow_s, wait_s
        self._lock = threading.Lock()

    def number(self) -> int:
        """Of requests so far."""
        return len(self.received)

    def handle(self, handler: _Handler) -> None:
        """One request."""
        body = handler.body()
        key = handler.headers.get("Idempotency-Key", "")
        with self._lock:
            fault = self._fault_of(len(self.received))
            is_answered = fault in (None, "slow", "reset after", "half", "garbage", "twice")
            sent = (key, handler.headers.get("Authorization", ""), body, is_answered)
            self.received.append(sent)
        if fault == "reset before":
            return _reset(handler)
        if not is_answered:
            return self._refuse(handler, str(fault))
        answer, was_known = self.model.answer(key, body)
        replayed = {"Idempotency_Replayed": "true"} if was_known else {}
        if fault == "slow":
            time.sleep(self._slow_s)
        if fault in ("reset after", "slow"):
            return _reset(handler)
        if fault == "half":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer[: len(answer) // 2])
            handler.close_connection = True
            return None
        if fault == "garbage":
            return handler.reply(200, b'{"features": [[0.1, NaN' + answer[:20], **replayed)
        handler.reply(200, answer, **replayed)
        if fault == "twice":
            handler.reply(200, answer, **replayed)
        return None

    def _refuse(self, handler: _Handler, fault: str) -> None:
        headers = {
            "429 seconds": {"Retry_After": f"{self._wait_s:.3f}"},
            "429 milliseconds": {"Retry_After_Ms": f"{1000 * self._wait_s:.1f}"},
            "429 date": {"Retry_After": formatdate(time.time() + self._wait_s, usegmt=True)},
        }
        # A careless server repeats the key that it refuses.
        said = json.dumps({"error": f"no: {handler.headers.get('Authorization', '')}"})
        handler.reply(int(fault.split()[0]), said.encode(), **headers.get(fault, {}))


def _reset(handler: _Handler) -> None:
    """The connection ends with RST."""
    handler.close_connection = True
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


@contextmanager
def serving(proxy: FaultProxy) -> Iterator[str]:
    """The URL of a proxy, while it serves."""

    class Handler(_Handler):
        shared: ClassVar[FaultProxy] = proxy

        def do_POST(self) -> None:
            self.shared.handle(self)

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scripted(faults: Sequence[Fault | None]) -> Callable[[int], Fault | None]:
    """These, in their order, and none after them."""
    return lambda number: faults[number] if number < len(faults) else None
