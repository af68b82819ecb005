"""A real S3-compatible server (moto's) on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

BUCKET = "runs-of-tests"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "planted-S3-secret"}


class S3Server:
    """Keeps its objects in its memory."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self._request("PUT", f"/{BUCKET}")
                return
            except OSError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def _request(self, method: str, path: str) -> None:
        address = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=5):
            pass

    def address(self, prefix: str, bucket: str = BUCKET) -> str:
        """Of a folder in the bucket."""
        options = f"endpoint_override=127.0.0.1:{self.port}&scheme=http"
        return f"s3://{bucket}/{prefix}?{options}"

    def kill(self) -> None:
        """End it; what it holds is lost."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)


@contextmanager
def s3_server(**environment: str) -> Iterator[S3Server]:
    """A server that answers, with a bucket; ended with the block."""
    server = S3Server(environment)
    try:
        yield server
    finally:
        server.kill()
