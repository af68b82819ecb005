"""A program of others that serves HTTP on loopback: started, waited for, ended with all it has
started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.foreign_environment import plain_variables

START_SECONDS = 180


@contextmanager
def foreign_server(
    words: Callable[[int], Sequence[str]],
    log: Path,
    variables: Mapping[str, str],
    health: str = "/health",
) -> Iterator[str]:
    """The URL of a server that answers; it is ended with the block.

    Args:
        words: the command line, for a port.
        log: file for what it prints.
        variables: beside those of this process.
        health: path that answers 200 when it is ready.

    Raises:
        RuntimeError: it has ended, or does not answer in time; with its last lines.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(words(port)),
            env={**plain_variables(), "OMP_NUM_THREADS": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, url + health, log)
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the server is {process.poll()}: {last}") from None
            time.sleep(0.2)
