"""The product's own commands as processes, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.metering.journal import JOURNAL_FILE
from craft_ray.metering.journal_sqlite import QueryJournal

TIMEOUT_S = 300.0


@dataclass
class Command:
    """A command that runs, or has run, in a process group of its own."""

    name: str
    """Of its run."""
    folder: Path
    """Of its run."""
    process: subprocess.Popen[str]

    @property
    def summary(self) -> Path:
        """Exists when the run is finished."""
        return self.folder / SUMMARY_FILE

    def processes(self, title: str = "") -> list[psutil.Process]:
        """What it has started and still runs; with a title, Ray's processes that begin with it."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            if not title or (words and words[0].startswith(f"ray::{title}")):
                found.append(child)
        return found

    def queries(self) -> int:
        """Candidate queries on record, of all trials."""
        total = 0
        for path in self.folder.rglob(JOURNAL_FILE):
            try:
                with QueryJournal(path) as journal:
                    total += journal.total().candidate_queries
            except (ArtifactError, RunFailedError):  # it is being made, or the disk is full
                continue
        return total

    def settled_queries(self) -> int:
        """The same, once what was orphaned asks no more."""
        last = -1
        while (count := self.queries()) != last:
            last = count
            time.sleep(1.0)
        return count

    def wait_for_queries(self, at_least: int) -> None:
        """Until so many are on record.

        Raises:
            RuntimeError: it ended, or took too long.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while self.queries() < at_least:
            if self.process.poll() is not None or time.monotonic() > deadline:
                output = self.wait() if self.process.poll() is not None else ""
                raise RuntimeError(f"{self.name}: {at_least} queries were not reached: {output}")
            time.sleep(0.05)

    def wait(self, timeout_s: float = TIMEOUT_S) -> str:
        """Its output, at its end.

        Raises:
            subprocess.TimeoutExpired: it took too long, and was ended.
        """
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGTERM)
            raise
        return output

    def interrupt(self) -> str:
        """Ctrl-C to it and all that it has started; its output."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()


def start(
    module: str,
    name: str,
    words: Sequence[str],
    directory: Path,
    *,
    log: Path | None = None,
    temporary: Path | None = None,
) -> Command:
    """Start `python -m craft_ray.<module>`.

    Args:
        module: `train` or `tune`.
        name: of the run.
        words: further words of the command line.
        directory: where it is started, and has its `runs/`.
        log: where its output goes; None: `Command.wait` returns it.
        temporary: its folder of temporary files; None: everybody's.
    """
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    process = subprocess.Popen(
        [sys.executable, "-m", f"craft_ray.{module}", *words, f"name={name}"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE if log is None else log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores Ctrl-C, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return Command(name, directory / "runs" / name, process)
