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
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from craft_ray.commands.frame import resume_hint
from craft_ray.errors import ConfigError, RunFailedError
from craft_ray.interrupts import treat_sigterm_as_ctrl_c
from craft_ray.jobs import driver_identity, run_lease
from craft_ray.jobs import run_lock as module
from craft_ray.jobs.driver_identity import Driver
from craft_ray.jobs.run_lock import LOCK_FILE, RunTakenError, check_is_free, run_lock

HOLD = """
import sys, time
from pathlib import Path
from craft_ray.jobs.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
ELSEWHERE = Driver("elsewhere", 7, "2026-01-01 00:00:00", "another boot", 1, "0" * 16)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, and a store that is looked at often."""

    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(run_lease, "LOOKS_EVERY_S", 0.01)


@pytest.fixture
def sigterm() -> Iterator[None]:
    """As a command treats it."""
    before = signal.getsignal(signal.SIGTERM)
    treat_sigterm_as_ctrl_c()
    yield
    signal.signal(signal.SIGTERM, before)


def claim(
    folder: Path, driver: Driver = ELSEWHERE, *, is_in: bool = True, renewed: int = 1
) -> Path:
    path = folder / f".driver-{driver.token}.json"
    document = {**driver.as_dict(), "is_in": is_in, "renewed": renewed}
    part = path.with_suffix(".new")
    part.write_text(json.dumps(document))
    part.replace(path)
    return path


@contextmanager
def renewing(folder: Path) -> Iterator[None]:
    """A driver of another machine lives; once is not enough, as it may be before the first look."""
    claim(folder)
    ended = threading.Event()

    def renew() -> None:
        renewed = 1
        while not ended.wait(0.05):
            renewed += 1
            claim(folder, renewed=renewed)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def enter(folder: Path) -> None:
    with run_lock(folder):
        pass


def check_kept_out(folder: Path) -> None:
    who = rf"being worked on by process {os.getpid()} on {socket.gethostname()} since \d{{4}}-"
    with pytest.raises(RunTakenError, match=who):
        check_is_free(folder)
    with pytest.raises(RunTakenError, match=who):
        enter(folder)


def test_another_driver_is_told_who_is_there(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        check_kept_out(tmp_path)
    check_is_free(tmp_path)
    assert names(tmp_path) == []
    enter(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_so_it_is_where_there_are_no_locks(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        check_kept_out(tmp_path)
    check_is_free(tmp_path)
    assert names(tmp_path) == []


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
    enter(tmp_path)


def test_who_only_looks_does_not_keep_a_driver_out(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch()
    descriptor = os.open(tmp_path / LOCK_FILE, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [descriptor]).start()
    enter(tmp_path)


def test_a_folder_that_cannot_be_locked_is_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match=r"output_dir: .*\.driver must be writable, but: Read-on"):
        enter(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_a_lock_of_a_machine_that_has_locks_is_respected_where_there_are_none(
    tmp_path: Path,
) -> None:
    (tmp_path / LOCK_FILE).write_text(json.dumps(ELSEWHERE.as_dict()))
    with pytest.raises(ConfigError, match="remove it if no driver works there"):
        enter(tmp_path)
    assert names(tmp_path) == [LOCK_FILE]


def test_a_claim_of_a_machine_without_locks_is_respected_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lease, "LOOKS_EVERY_S", 0.01)
    with (
        renewing(tmp_path),
        pytest.raises(ConfigError, match=r"process 7 on elsewhere since 2026-01-01"),
    ):
        enter(tmp_path)
    monkeypatch.setattr(run_lease, "EXPIRES_AFTER_S", 0.1)
    enter(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_locks")
def test_a_claim_that_is_renewed_is_respected(tmp_path: Path) -> None:
    with (
        renewing(tmp_path),
        pytest.raises(ConfigError, match=r"process 7 on elsewhere since 2026-01-01"),
    ):
        enter(tmp_path)
    assert names(tmp_path) == [f".driver-{ELSEWHERE.token}.json"]


@pytest.mark.usefixtures("no_locks")
def test_a_claim_that_is_not_renewed_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lease, "EXPIRES_AFTER_S", 0.1)
    claim(tmp_path)
    with run_lock(tmp_path):
        check_kept_out(tmp_path)
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_locks")
def test_of_a_driver_that_died_on_this_machine_nobody_waits_for_the_end(tmp_path: Path) -> None:
    gone = replace(Driver.me(), pid=2**22 + 1, token="gone")  # more than Linux gives
    another = replace(Driver.me(), created=1, token="another")  # has its process id now
    for driver in (gone, another):
        claim(tmp_path, driver)
    enter(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_locks")
def test_a_driver_lives_on_when_the_clock_of_its_machine_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(tmp_path, replace(Driver.me(), token="0"))
    start = psutil.boot_time()  # is now less what the machine has run
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: start + 3600)
    monkeypatch.setattr("psutil._pslinux.BOOT_TIME", None, raising=False)
    with pytest.raises(RunTakenError):
        enter(tmp_path)


@pytest.mark.usefixtures("no_locks")
def test_a_killed_driver_that_nobody_has_buried_is_dead(tmp_path: Path) -> None:
    """In a container whose first process does not wait for orphans it stays for ever."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        created = driver_identity._created(process.pid)
        assert created is not None
        driver = replace(Driver.me(), pid=process.pid, created=created, token="0")
        claim(tmp_path, driver)
        with pytest.raises(RunTakenError):
            enter(tmp_path)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        enter(tmp_path)
    assert names(tmp_path) == []


def test_a_driver_of_another_user_that_is_not_shown_may_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    assert replace(Driver.me(), pid=2**22 + 1).lives is None


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("token", ["0" * 16, "g" * 16], ids=["before ours", "after ours"])
def test_of_two_who_come_at_once_one_gives_way(tmp_path: Path, token: str) -> None:
    driver = replace(Driver.me(), token=token)
    path = claim(tmp_path, driver, is_in=False)
    if token < "g":
        with pytest.raises(RunTakenError):
            enter(tmp_path)
        assert names(tmp_path) == [path.name]
        return
    threading.Timer(0.1, path.unlink).start()  # it has seen us
    with run_lock(tmp_path):
        assert len(names(tmp_path)) == 1


@pytest.mark.usefixtures("no_locks")
def test_of_many_at_once_one_is_in_at_a_time(tmp_path: Path) -> None:
    inside, most, entered = 0, 0, 0

    def drive() -> None:
        nonlocal inside, most, entered
        try:
            with run_lock(tmp_path):
                inside += 1
                most, entered = max(most, inside), entered + 1
                time.sleep(0.05)
                inside -= 1
        except RunTakenError:
            pass

    for _ in range(5):
        threads = [threading.Thread(target=drive) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1
    assert entered >= 5
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_locks", "sigterm")
@pytest.mark.parametrize("is_ignored", [False, True], ids=["terminal", "background"])
def test_a_driver_that_was_taken_for_dead_stops_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ignored: bool
) -> None:
    monkeypatch.setattr(run_lease, "RENEWED_EVERY_S", 0.5)
    before = signal.getsignal(signal.SIGINT)
    if is_ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def work() -> None:
        with run_lock(tmp_path), resume_hint("train", [], tmp_path):
            for path in tmp_path.glob(".driver-*.json"):
                path.unlink()
            claim(tmp_path)
            for _ in range(1000):
                time.sleep(0.01)
            pytest.fail("nobody stopped it")

    try:
        with pytest.raises(RunFailedError, match="another driver has taken it over") as caught:
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "--resume" not in str(caught.value)
    assert names(tmp_path) == [f".driver-{ELSEWHERE.token}.json"]


@pytest.mark.usefixtures("no_locks")
def test_a_claim_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lease, "RENEWED_EVERY_S", 0.01)
    with run_lock(tmp_path):
        (path,) = tmp_path.glob(".driver-*.json")
        first = json.loads(path.read_text())["renewed"]
        deadline = time.monotonic() + 10
        while json.loads(path.read_text())["renewed"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"pid": "x"}'])
def test_what_is_no_claim_is_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / ".driver-x.json").write_text(damage)
    check_is_free(tmp_path)
    enter(tmp_path)
    assert module.LOCK_FILE not in names(tmp_path)
