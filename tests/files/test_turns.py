"""A set-up by one process at a time, whatever becomes of the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from craft_ray.files import turns
from craft_ray.files.turns import my_turn

HOLDER = """
import sys, time
from pathlib import Path
from craft_ray.files.turns import my_turn
with my_turn(Path(sys.argv[1]), 1, print):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_nothing_is_left_after_a_turn(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        with my_turn(tmp_path / "lock", 1.0, said.append):
            assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
        assert list(tmp_path.iterdir()) == []
    assert said == []


def test_one_at_a_time(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(10):
            with my_turn(tmp_path / "lock", 60.0, lambda _: None):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_who_waits_hears_for_whom_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TELL_AFTER_S", 0.1)
    said: list[str] = []
    with holder(tmp_path / "lock") as process:
        words = f"process {process.pid} on "
        with pytest.raises(TimeoutError, match=words), my_turn(tmp_path / "lock", 0.5, said.append):
            pass
        process.kill()
    (line,) = said
    assert line.startswith(f"Waiting for {words}")


def test_a_killed_holder_keeps_nobody_out(tmp_path: Path) -> None:
    with holder(tmp_path / "lock") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "lock").exists()
    with my_turn(tmp_path / "lock", 5.0, print):
        pass
    assert list(tmp_path.iterdir()) == []
