"""Pure models of servers behind real HTTP on 127.0.0.1, in a thread, with a list of what was asked.

`answer` of `tests.oracle.endpoints.servers` makes one for each dialect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from craft_ray.oracle.endpoints.wire import Part, Reply, Request, Units

Served = Callable[[Request], Reply]


@dataclass
class Asked:
    """A server that runs.

    Attributes:
        url: of it.
        requests: it got, in their order.
        serve: answers them; may be replaced while it runs.
    """

    url: str
    serve: Served
    requests: list[Request] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]


@contextmanager
def model_server(serve: Served) -> Iterator[Asked]:
    """Run a server; what it answers with is `serve`'s."""
    asked = Asked("", serve)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is shown."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = dict(self.headers.items())
            request = Request(self.command, self.path, headers, body, Part(), Units())
            with lock:
                asked.requests.append(request)
            reply = asked.serve(request)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = _answer

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """A client that has gone is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    asked.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
