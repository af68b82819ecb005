"""Environments of foreign servers are built once, and a build that fails says why. Needs no
network."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.support import foreign_environment
from tests.support.foreign_environment import (
    BuildError,
    Recipe,
    built,
    environments_folder,
    python_or_skip,
)
from tests.support.foreign_server import foreign_server


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was run in place of pip; an environment is an empty folder with a file."""
    ran: list[list[str]] = []

    def run(words: list[str], deadline: float) -> None:
        ran.append(words)
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        if "nowhere" in words:
            raise BuildError("no such thing")

    monkeypatch.setattr(foreign_environment, "_done", run)
    return ran


def test_two_that_want_one_environment_build_it_once(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    recipe = Recipe("thing", ("some==1",), ("other",))
    pythons: list[Path] = []
    threads = [
        threading.Thread(target=lambda: pythons.append(built(recipe, tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(commands) == 3  # venv, install, uninstall
    assert pythons[0] == pythons[1]
    assert pythons[0].exists()


def test_other_requirements_are_another_environment(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    one = built(Recipe("thing", ("some==1",)), tmp_path)
    assert built(Recipe("thing", ("some==2",)), tmp_path) != one


def test_of_a_failed_build_nothing_is_left(tmp_path: Path, commands: list[list[str]]) -> None:
    recipe = Recipe("thing", ("nowhere",))
    for _ in range(2):
        with pytest.raises(BuildError, match="no such thing"):
            built(recipe, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_tests_are_skipped_with_what_pip_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    monkeypatch.setenv("CRAFT_RAY_TEST_ENVIRONMENTS", str(tmp_path / "cache"))
    with pytest.raises(pytest.skip.Exception, match=r"thing cannot be built: no such thing"):
        python_or_skip(Recipe("thing", ("nowhere",)))
    assert environments_folder() == tmp_path / "cache"


def test_a_program_that_fails_or_takes_too_long_is_told() -> None:
    with pytest.raises(BuildError, match=r"said first \| said last"):
        foreign_environment._done(
            ["sh", "-c", "echo said first; echo; echo said last >&2; exit 3"], time.monotonic() + 30
        )
    with pytest.raises(BuildError, match="too long"):
        foreign_environment._done(["sleep", "60"], 0)


def test_a_server_that_ends_at_once_says_its_last_words(tmp_path: Path) -> None:
    words = ["sh", "-c", "echo no such model; exit 4"]
    with (
        pytest.raises(RuntimeError, match="is 4: no such model"),
        foreign_server(lambda port: words, tmp_path / "log", {}),
    ):
        pytest.fail("it does not answer")


def test_a_server_is_ended_with_its_children_when_a_test_fails(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, http.server as h\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        "open(sys.argv[2], 'w').write(str(child.pid))\n"
        "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()"
    )
    pid = tmp_path / "pid"
    with (
        pytest.raises(ZeroDivisionError),
        foreign_server(
            lambda port: ["python3", "-c", program, str(port), str(pid)],
            tmp_path / "log",
            {},
            health="/",
        ),
    ):
        raise ZeroDivisionError
    with contextlib.suppress(psutil.NoSuchProcess):  # it is gone already
        psutil.Process(int(pid.read_text())).wait(timeout=10)
