"""What the gate of an endpoint costs beside the requests themselves, in CPU seconds and in time.

    python -m benchmarks.gate_overhead             # two minutes

A server of its own process answers one image a request after a fixed time. The same images are sent
by the gate (paced, on record before they are sent, kept) and by the same HTTP client without it, in
turns in one run. The server's CPU is not counted. The endpoint is fast and the disk is not: what a
real one answers in a second costs the same CPU here.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.record import commit, write_result
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.oracle.remote.opening import open_endpoint
from craft_ray.oracle.remote.records import records_of_run
from craft_ray.oracle.remote.text_oracle import TextEndpointOracle

WIDTH = 512
IMAGE_BYTES = 30_000
MODEL = "clip"


class Handler(BaseHTTPRequestHandler):
    """Answers with features of ones."""

    protocol_version = "HTTP/1.1"
    service_s = 0.0

    def do_POST(self) -> None:
        """One question."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.service_s)
        feature = base64.b64encode(np.ones(WIDTH, np.float32).tobytes()).decode()
        data = [{"index": row, "embedding": feature} for row in range(len(asked["input"]))]
        body = json.dumps({"model": MODEL, "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128
    daemon_threads = True


def serve(service_s: float) -> None:
    """Until the process is ended; the port stands in the first line."""
    Handler.service_s = service_s
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def by_gate(url: str, files: tuple[bytes, ...], at_once: int) -> Callable[[Path], None]:
    """Ask through the gate."""

    def ask(folder: Path) -> None:
        config = EndpointConfig.model_validate(
            {
                "kind": "http",
                "dialect": "infinity",
                "url": url,
                "model": MODEL,
                "limits": {"images": 1, "concurrency": at_once},
                "keep_answers": False,
            }
        )
        with open_endpoint(config, None, records_of_run(config, folder)) as oracle:
            assert isinstance(oracle, TextEndpointOracle)
            oracle.embed_images(oracle.register_images(files))

    return ask


def by_client(url: str, files: tuple[bytes, ...], at_once: int) -> Callable[[Path], None]:
    """Ask with the client alone: nothing is kept, bounded or tried again."""

    def one(client: httpx2.Client, file: bytes) -> None:
        uri = f"data:image/png;base64,{base64.b64encode(file).decode()}"
        body = json.dumps({"model": MODEL, "input": [uri], "modality": "image"}).encode()
        # As the gate: one request a connection, so that no answer is taken for another's.
        reply = client.post(f"{url}/embeddings", content=body, headers={"Connection": "close"})
        np.frombuffer(base64.b64decode(reply.json()["data"][0]["embedding"]), np.float32)

    def ask(folder: Path) -> None:
        limits = httpx2.Limits(max_connections=at_once)
        with httpx2.Client(limits=limits) as client, ThreadPoolExecutor(at_once) as threads:
            list(threads.map(lambda file: one(client, file), files))

    return ask


def measured(ask: Callable[[Path], None]) -> tuple[float, float]:
    """CPU seconds of this process, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        ask(Path(folder))
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cpu_s, time.monotonic() - began_s


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_overhead", description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--service-s", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve is not None:
        serve(options.serve)
        return
    commit_id = commit()
    command = [sys.executable, "-m", __spec__.name, "--serve", str(options.service_s)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        rows = []
        for _ in range(options.rounds):
            head = b"\x89PNG\r\n\x1a\n"
            files = tuple(head + os.urandom(IMAGE_BYTES) for _ in range(options.requests))
            gate = measured(by_gate(url, files, options.at_once))
            client = measured(by_client(url, files, options.at_once))
            rows.append({"gate": gate, "client": client})
    finally:
        server.kill()
        server.wait()
    per_request_ms = {
        who: round(1000 * statistics.median(row[who][0] for row in rows) / options.requests, 2)
        for who in ("gate", "client")
    }
    result = {
        "cpu_ms_per_request": per_request_ms,
        "cpu_ratio": round(statistics.median(r["gate"][0] / r["client"][0] for r in rows), 2),
        "seconds_ratio": round(statistics.median(r["gate"][1] / r["client"][1] for r in rows), 2),
        "rows": rows,
    }
    print(json.dumps({key: result[key] for key in result if key != "rows"}))
    write_result("gate_overhead", commit_id, result)


if __name__ == "__main__":
    main()
