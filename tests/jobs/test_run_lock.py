"""One driver at a time in the folder of a run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from craft_ray.errors import ConfigError, RunFailedError
from craft_ray.jobs import run_lock as module
from craft_ray.jobs.run_lock import LEASE_FILE, check_is_free, run_lock

HOLD = """
import sys, time
from pathlib import Path
from craft_ray.jobs.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, and a lease that settles at once."""

    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(module, "SETTLES_IN_S", 0.0)


def lease(folder: Path, **changes: Any) -> None:
    driver = {"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00", "token": "theirs"}
    document = {**driver, "seen": time.time(), **changes}
    (folder / LEASE_FILE).write_text(json.dumps(document))


def check_kept_out(folder: Path) -> None:
    who = rf"being worked on by process {os.getpid()} on {socket.gethostname()} since \d{{4}}-"
    with pytest.raises(ConfigError, match=who):
        check_is_free(folder)
    with pytest.raises(ConfigError, match=who), run_lock(folder):
        pass


def test_another_driver_is_told_who_is_there(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        check_kept_out(tmp_path)
    check_is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with run_lock(tmp_path):
        pass


@pytest.mark.usefixtures("no_locks")
def test_so_it_is_where_there_are_no_locks(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        check_kept_out(tmp_path)
    check_is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_is_killed_leaves_its_folder_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"by process {driver.pid} on"):
            check_is_free(tmp_path)
        driver.send_signal(signal.SIGKILL)
        driver.wait(10)
    check_is_free(tmp_path)
    with run_lock(tmp_path):
        pass


def test_a_fresh_lease_of_another_host_is_respected_also_where_there_are_locks(
    tmp_path: Path,
) -> None:
    lease(tmp_path)
    with (
        pytest.raises(ConfigError, match=r"process 1 on elsewhere .* try again in (59|60) s"),
        run_lock(tmp_path),
    ):
        pass


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    "left",
    [
        {"seen": 0.0},
        {"host": socket.gethostname(), "pid": 2**22 + 1},  # more than Linux gives
    ],
    ids=["expired", "dead on this host"],
)
def test_what_a_dead_driver_has_left_is_taken_over(tmp_path: Path, left: dict[str, Any]) -> None:
    lease(tmp_path, **left)
    check_is_free(tmp_path)
    with run_lock(tmp_path):
        check_kept_out(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_of_two_at_once_the_last_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: lease(tmp_path))
    with pytest.raises(ConfigError, match="process 1 on elsewhere"), run_lock(tmp_path):
        pass
    assert json.loads((tmp_path / LEASE_FILE).read_text())["token"] == "theirs"


@pytest.mark.usefixtures("no_locks")
def test_a_driver_whose_lease_was_taken_stops_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWED_EVERY_S", 0.01)

    def work() -> None:
        with run_lock(tmp_path):
            for _ in range(1000):
                lease(tmp_path)
                time.sleep(0.01)
            pytest.fail("nobody stopped it")

    with pytest.raises(RunFailedError, match="another driver has taken it over"):
        work()
    assert json.loads((tmp_path / LEASE_FILE).read_text())["token"] == "theirs"


@pytest.mark.usefixtures("no_locks")
def test_a_lease_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEWED_EVERY_S", 0.01)
    with run_lock(tmp_path):
        first = json.loads((tmp_path / LEASE_FILE).read_text())["seen"]
        deadline = time.monotonic() + 10
        while json.loads((tmp_path / LEASE_FILE).read_text())["seen"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
