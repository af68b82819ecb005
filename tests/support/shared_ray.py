"""One Ray for many tests, in a process of its own: commands that are called in the test's process
connect to it as to a cluster, and start no Ray of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest

PROGRAM = """
import sys
import ray
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
with ray_session(RayConfig(num_cpus=32, object_store_mb=500)):
    print("address", ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""
FEW_PROCESSES = ("pool.replicas=2", "pool.threads_per_replica=1")
"""`auto` would take the logical CPUs for real ones."""


@contextmanager
def running_ray() -> Iterator[str]:
    """Its address."""
    variables = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        # Workers are started when they are needed, not one for each logical CPU. No token: only an
        # address is handed over.
        env=variables | {"RAY_prestart_worker_first_driver": "0", "RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = (line.split() for line in process.stdout)
        yield next(words[1] for words in lines if words[:1] == ["address"])
    finally:
        process.communicate(timeout=60)


@dataclass(frozen=True)
class Outcome:
    """Of a command."""

    returncode: int
    stdout: str
    stderr: str


def call(address: str, folder: Path, module: str, *words: str) -> Outcome:
    """`python -m craft_ray.<module>` in this process, in `folder`, on the Ray at `address`."""
    command = import_module(f"craft_ray.commands.{module}")
    output, errors = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", address)
        patch.chdir(folder)
        with redirect_stdout(output), redirect_stderr(errors):
            code = command.main(_words(module, words))
    return Outcome(code, output.getvalue(), errors.getvalue())


def _words(module: str, words: Sequence[str]) -> list[str]:
    return [*(FEW_PROCESSES if module in ("tune", "train", "reproduce") else ()), *words]
