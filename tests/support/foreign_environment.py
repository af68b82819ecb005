"""A virtual environment of its own for a server of others, whose requirements do not fit ours.

It is built once for all test processes and kept between runs, in a folder outside the checkout.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

FOLDER_VARIABLE = "CRAFT_RAY_TEST_ENVIRONMENTS"
BUILD_SECONDS = 1200
TAIL_LINES = 8


class BuildError(Exception):
    """With what pip said last."""


@dataclass(frozen=True)
class Recipe:
    """What is installed.

    Attributes:
        name: for the folder; letters only.
        requirements: as pip takes them, solved together.
        uninstalls: what is removed afterwards.
    """

    name: str
    requirements: tuple[str, ...]
    uninstalls: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of all that decides what is built, Python's version too."""
        told = [self.name, self.requirements, self.uninstalls, sys.version, sys.base_prefix]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def environments_folder() -> Path:
    """Where environments are kept: the variable's folder, or one of this user's own."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return Path(tempfile.gettempdir()) / f"craft-ray-test-environments-{os.getuid()}"


def built(recipe: Recipe, folder: Path, seconds: float = BUILD_SECONDS) -> Path:
    """The Python of an environment; built unless it is there. Run its programs with `-m`: their
    scripts know only the folder in which they were built.

    Args:
        recipe: what is installed.
        folder: that has all environments.
        seconds: for the build, and to wait for another process that builds the same.

    Raises:
        BuildError: pip cannot, or the time is over.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise BuildError(f"{folder} is somebody else's")
    whole = folder / f"{recipe.name}-{recipe.digest}"
    python = whole / "bin" / "python"
    deadline = time.monotonic() + seconds
    with _locked(whole.with_suffix(".lock"), deadline):
        if python.exists():
            return python
        part = whole.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)  # of a build that was killed
        try:
            _build(recipe, part, deadline)
            part.rename(whole)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return python


@cache
def python_or_reason(recipe: Recipe) -> Path | str:
    """The environment's Python, or why there is none; tried once a process."""
    try:
        return built(recipe, environments_folder())
    except (BuildError, OSError) as error:
        return f"the environment {recipe.name} cannot be built: {error}"


def python_or_skip(recipe: Recipe) -> Path:
    """The environment's Python. Skips the test where it cannot be built."""
    answer = python_or_reason(recipe)
    if isinstance(answer, str):
        pytest.skip(answer)
    return answer


def plain_variables() -> dict[str, str]:
    """The environment's variables without those by which Python would find our packages."""
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def run_program(python: Path, name: str, *words: str) -> None:
    """Run one of the programs in this folder to its end, in another environment."""
    program = str(Path(__file__).with_name(name))
    done = subprocess.run(
        [str(python), program, *words],
        env={**plain_variables(), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _build(recipe: Recipe, folder: Path, deadline: float) -> None:
    _done([sys.executable, "-m", "venv", str(folder)], deadline)
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    # What is compiled at import anyway need not be compiled now: half of the time.
    install = ["install", "--no-compile", "--disable-pip-version-check", "--no-input"]
    _done([*pip, *install, *recipe.requirements], deadline)
    if recipe.uninstalls:
        _done([*pip, "uninstall", "--yes", *recipe.uninstalls], deadline)


def _done(words: list[str], deadline: float) -> None:
    """Run to the end; a program that takes too long is ended."""
    try:
        done = subprocess.run(
            words,
            env=plain_variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(deadline - time.monotonic(), 0.1),
        )
    except subprocess.TimeoutExpired:
        raise BuildError("it takes too long") from None
    if done.returncode:
        last = [line for line in done.stdout.splitlines() if line.strip()][-TAIL_LINES:]
        raise BuildError(" | ".join(last) or f"{words[:3]} ended with {done.returncode}")


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """No other process is in this block. The lock ends with its process, however that ends."""
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError("another process builds it, and takes too long") from None
                time.sleep(0.2)
        yield
