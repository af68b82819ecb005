"""What a command costs, all its processes counted: CPU seconds, memory, silences."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

SHARES_EVERY_S = 1.0
"""What is shared is counted page by page, which takes the kernel a while."""
POLL_S = 0.1
"""A process that ends between two looks has its last CPU time uncounted; it is less than this."""
SETTLE_S = 1.0
"""Whatever a command has left behind is counted for so long after its end."""


@dataclass
class Cost:
    """Of one command."""

    wall_s: float = 0.0
    peak_mb: float = 0.0
    """The highest sum of resident memory over the tree; what processes share counts in each."""
    peak_shared_once_mb: float = 0.0
    """The same, with what n processes share counted to an n-th in each (PSS)."""
    mb: dict[str, float] = field(default_factory=dict)
    """The most that a process of that name had resident."""
    cpu_s: dict[str, float] = field(default_factory=dict)
    """By name of the process."""
    processes: dict[str, int] = field(default_factory=dict)
    """How many of that name there were."""
    lines: list[tuple[float, str]] = field(default_factory=list)
    """What was on the screen, and when, in seconds from the start."""

    @property
    def total_cpu_s(self) -> float:
        """Of all processes."""
        return sum(self.cpu_s.values())

    @property
    def longest_silence_s(self) -> float:
        """Between two lines, the start and the end included."""
        times = [0.0, *(at_s for at_s, _ in self.lines), self.wall_s]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def seconds_to(self, text: str) -> float | None:
        """When a line with this text was on the screen; None if it never was."""
        return next((at_s for at_s, line in self.lines if text in line), None)

    def as_dict(self) -> dict[str, Any]:
        """For a result's file."""
        return {
            "wall_s": round(self.wall_s, 1),
            "cpu_s": round(self.total_cpu_s, 1),
            "peak_mb": round(self.peak_mb),
            "peak_shared_once_mb": round(self.peak_shared_once_mb),
            "longest_silence_s": round(self.longest_silence_s, 1),
            "num_processes": sum(self.processes.values()),
            "number_cpu_s_and_mb_by_process": {
                name: [self.processes[name], round(seconds, 1), round(self.mb.get(name, 0.0))]
                for name, seconds in sorted(self.cpu_s.items(), key=lambda item: -item[1])
            },
        }


def measure(
    command: Sequence[str], directory: Path, variables: Mapping[str, str] | None = None
) -> Cost:
    """Run a command to its end.

    Args:
        command: its words.
        directory: where it is started.
        variables: of its environment, beside those of this process.

    Raises:
        RuntimeError: it failed; what it printed is in the message.
    """
    cost, started = Cost(), time.monotonic()
    seen: dict[tuple[int, float], tuple[str, float]] = {}
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, cost, started), daemon=True)
    reader.start()
    known = {process.pid: psutil.Process(process.pid)}
    ends_at: float | None = None
    shares_at = 0.0
    while ends_at is None or time.monotonic() < ends_at:
        _look(known, seen, cost)
        if time.monotonic() >= shares_at:
            shares_at = time.monotonic() + SHARES_EVERY_S
            cost.peak_shared_once_mb = max(cost.peak_shared_once_mb, _shared_once_mb(known))
        if ends_at is None and process.poll() is not None:
            cost.wall_s = time.monotonic() - started
            ends_at = time.monotonic() + SETTLE_S
        time.sleep(POLL_S)
    reader.join(timeout=SETTLE_S)
    if process.returncode != 0:
        raise RuntimeError("\n".join(line for _, line in cost.lines))
    for name, seconds in seen.values():
        cost.cpu_s[name] = cost.cpu_s.get(name, 0.0) + seconds
    cost.processes = dict(Counter(name for name, _ in seen.values()))
    return cost


def _read(stream: IO[str], cost: Cost, started: float) -> None:
    for line in stream:
        cost.lines.append((time.monotonic() - started, line.rstrip("\n")))


def _look(
    known: dict[int, psutil.Process],
    seen: dict[tuple[int, float], tuple[str, float]],
    cost: Cost,
) -> None:
    """Find what the known processes have started, and read the clocks of all that live."""
    for process in list(known.values()):
        with suppress(psutil.Error):
            for child in process.children():
                known.setdefault(child.pid, child)
    resident = 0
    for pid, process in list(known.items()):
        try:
            with process.oneshot():
                times, title = process.cpu_times(), process.cmdline()
                key = (pid, process.create_time())
                name = _name_of(title, process.name())
                seen[key] = (name, times.user + times.system)
                own = process.memory_info().rss
            resident += own
            cost.mb[name] = max(cost.mb.get(name, 0.0), own / 2**20)
        except psutil.Error:
            del known[pid]
    cost.peak_mb = max(cost.peak_mb, resident / 2**20)


def _shared_once_mb(known: dict[int, psutil.Process]) -> float:
    total = 0
    for process in list(known.values()):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 2**20


def _name_of(words: Sequence[str], fallback: str) -> str:
    """What a process is, without what differs between two of a kind."""
    if not words:
        return fallback
    if words[0].startswith("ray::"):
        return words[0].removeprefix("ray::").split("(")[0].split(".")[0].split(" ")[0] or "ray"
    if "-m" in words[:3]:
        return words[words.index("-m") + 1]
    scripts = [Path(word).name for word in words if word.endswith(".py")]
    return scripts[0] if scripts else Path(words[0].split(" ")[0]).name
