"""The process of a fine-tuning: started, read, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

MOST_LINE_BYTES = 2_000
ERROR_BYTES = 8_000


def as_found_here() -> dict[str, str]:
    """The environment of a process that is to find the modules that this one finds, wherever it
    runs: the project may be a folder that this one was started in, and Ray's workers have a path of
    their own."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class TuningProcess:
    """One `python -m craft_ray.train` or `tune`, in a session of its own, on a leash.

    Args:
        command: program and arguments.
        log: a new file for what it prints beside its result.
        cwd: where it runs.
    """

    def __init__(self, command: Sequence[str], log: Path, cwd: Path) -> None:
        leash = [sys.executable, "-m", f"{__package__}.leashed", str(os.getpid())]
        self._log, self._offset = log, 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*leash, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
                env=as_found_here(),
                cwd=cwd,
            )
        self._kill_at: float | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None: it runs."""
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._signal(signal.SIGKILL)
        return self._process.poll()

    def interrupt(self, grace_s: float) -> None:
        """As Ctrl-C; who does not end then is killed by a later `exit_code`."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_s
            self._signal(signal.SIGINT)

    def wait(self) -> int:
        """Until it has ended; it was interrupted before."""
        while (code := self.exit_code()) is None:
            time.sleep(0.05)
        return code

    def new_lines(self) -> Iterator[str]:
        """What it has printed since the last time, whole lines."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith(b"\n"):
                yield line[:MOST_LINE_BYTES].decode(errors="replace").rstrip()
                self._offset = file.tell()  # what could not be noted comes again

    def last_words(self) -> str:
        """The end of what it has printed."""
        with self._log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - ERROR_BYTES))
            return file.read().decode(errors="replace")

    def _signal(self, number: int) -> None:
        # SIGINT to its own process only, as its workers are ended by it; SIGKILL to all of them.
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)
