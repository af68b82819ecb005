"""`python -m craft_ray.serve` as a process of its own, whose parts a test may kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psutil

START_S = 300.0
"""Of a machine with a few slow cores that others use as well."""

PART_S = 60.0
"""Of a part that starts again."""


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """A service in a folder, on a Ray of its own.

    Args:
        folder: has its state and the output of the command.
        words: settings.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        self._folder, self._words = folder, words
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.keys = folder / "keys.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Wait until requests are answered."""
        command = [sys.executable, "-m", "craft_ray.serve", f"port={self.port}"]
        command += [f"folder={self._folder / 'service'}", f"keys={self.keys}", *self._words]
        variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self._log = self._folder / f"log-{time.monotonic_ns()}.txt"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self._folder, env=variables
            )
        self.wait_until_healthy(START_S)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The command's."""
        assert self._process is not None
        return self._process

    def wait_until_healthy(self, timeout_s: float = START_S) -> None:
        """Until it answers again."""
        until = time.monotonic() + timeout_s
        while not self.is_healthy():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.2)

    def is_healthy(self) -> bool:
        """Whether it answers now."""
        try:
            return httpx2.get(f"{self.url}/healthz", timeout=5.0).status_code == 200
        except httpx2.HTTPError:
            return False

    def process_of(self, title: str) -> psutil.Process:
        """The process of a part, by what Ray calls it."""
        until = time.monotonic() + PART_S
        while time.monotonic() < until:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                try:
                    if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::{title}"):
                        return process
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.2)
        raise AssertionError(f"there is no process of {title}")

    def kill_part(self, title: str) -> None:
        """kill -9 of a part."""
        self.process_of(title).kill()

    def kill(self) -> None:
        """kill -9 of the command; waits until what it has started is gone too."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(started, timeout=30)
        for process in alive:  # a worker that hangs is Ray's matter
            process.kill()

    def stop(self) -> None:
        """As Ctrl-C does; nothing happens where it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=90)
        finally:
            if self._process.poll() is None:
                self.kill()
