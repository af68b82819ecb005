"""A long search under steady faults: does anything grow, and is anything left?

    python -m benchmarks.soak --minutes 30

Runs `python -m craft_ray.tune` on the embedded task, four trials at a time, and kills an oracle
replica every 30 s. Private memory (resident, without what is shared: that is Ray's object store) of
every kind of process is sampled. What lives as long as the search, the workers of its slots
included, must not grow (MB an hour, by least squares after a warm-up). At the end comes Ctrl-C, and
nothing may be left: no process, no file outside the run's folder and Ray's logs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.product import Command, start
from benchmarks.record import ROOT, commit, write_result
from craft_ray.metering.journal import JOURNAL_FILE
from craft_ray.metering.journal_sqlite import QueryJournal

MB = 1e6
SAMPLE_S = 5.0
COUNT_EVERY_S = 180.0
MAX_QUERIES = 16_000
SETTINGS = (
    str(ROOT / "tune_spaces" / "collaborative.yaml"),
    "data.shots=2",
    "data.views=1",
    f"max_queries={MAX_QUERIES}",
    "pool.replicas=2",
    "pool.threads_per_replica=1",
    "ray.num_cpus=4",
    "trials=10000",
    "max_concurrent_trials=4",
    "scheduler={kind: none}",
)
WARM_UP = 1 / 4
"""Share of the time: what a process still loads is no leak."""
LONG_LIVED = (
    "driver",
    "raylet",
    "gcs_server",
    "dashboard",
    "ray::Registry",
    "ray::JobBoard",
    "ray::RayTrainWorker",
    "ray::TrainController",
    "ray::ResourceTrainable",
)
PER_KILL = ("ray::OracleReplica",)
LEFT_BY_RAY = "ray"
"""Under the folder of temporary files: sessions with their logs, which Ray keeps."""

Samples = dict[str, dict[int, list[tuple[float, float]]]]
"""Kind of process -> process id -> (seconds since the start, private bytes)."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kill-every", type=float, default=30.0, metavar="SECONDS")
    options = parser.parse_args()
    commit_id = commit()
    # Short names: the paths of Ray's sockets may have 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="run") as name,
        tempfile.TemporaryDirectory(prefix="t") as temporary,
    ):
        directory = Path(name)
        log = directory / "output"
        shared_memory_before = shared_memory()
        command = start("tune", "soak", SETTINGS, directory, log=log, temporary=Path(temporary))
        watch = Watch(command)
        try:
            watch.run(60 * options.minutes, options.kill_every)
        finally:
            seen = command.processes()
            started_s = time.monotonic()
            command.interrupt()
        result = {
            "minutes": options.minutes,
            "kills": watch.kills,
            **trials_of(command, log.read_text()),
            "growth": growth(watch.samples),
            "counts": watch.counts,
            "exit_code": command.process.returncode,
            "seconds_to_end": round(time.monotonic() - started_s, 1),
            "processes_left": still_running(seen),
            "files_left": sorted(
                path.name for path in Path(temporary).iterdir() if path.name != LEFT_BY_RAY
            ),
            "shared_memory_left": sorted(shared_memory() - shared_memory_before),
        }
    show(result)
    print(write_result("soak", commit_id, {"settings": SETTINGS, **result}))


class Watch:
    """Samples a command and kills its replicas."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._started_s = time.monotonic()
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self.counts: list[dict[str, float]] = []
        self.kills = 0

    def run(self, seconds: float, kill_every_s: float) -> None:
        """For so long, from its first queries on.

        Raises:
            RuntimeError: the command has ended.
        """
        self._command.wait_for_queries(1)
        self._started_s = time.monotonic()
        next_kill_s, next_count_s = kill_every_s, 0.0
        while (now_s := time.monotonic() - self._started_s) < seconds:
            if self._command.process.poll() is not None:
                raise RuntimeError(f"the search must go on, but ended after {now_s:.0f} s")
            self._sample(now_s)
            if now_s >= next_kill_s:
                self._kill_a_replica()
                next_kill_s += kill_every_s
            if now_s >= next_count_s:
                self._count(now_s)
                next_count_s += COUNT_EVERY_S
            time.sleep(SAMPLE_S)

    def _sample(self, now_s: float) -> None:
        driver = psutil.Process(self._command.process.pid)
        for process in [driver, *self._command.processes()]:
            try:
                kind = "driver" if process == driver else kind_of(process)
                if kind is not None:
                    info = process.memory_info()
                    memory = float(info.rss - info.shared)
                    self.samples[kind][process.pid].append((now_s, memory))
            except psutil.Error:  # it has just ended
                continue

    def _kill_a_replica(self) -> None:
        replicas = sorted(self._command.processes("OracleReplica"), key=lambda p: p.pid)
        if replicas:
            replicas[self.kills % len(replicas)].send_signal(signal.SIGKILL)
            self.kills += 1

    def _count(self, now_s: float) -> None:
        address = next(
            word.removeprefix("--gcs-address=")
            for process in self._command.processes()
            for word in process.cmdline()
            if word.startswith("--gcs-address=")
        )
        actors, groups = _actors_and_groups(address)
        driver = psutil.Process(self._command.process.pid)
        self.counts.append(
            {
                "minute": round(now_s / 60, 1),
                "actors": actors,
                "placement_groups": groups,
                "processes": len(self._command.processes()),
                "open_files_of_driver": driver.num_fds(),
                "threads_of_driver": driver.num_threads(),
            }
        )


def _actors_and_groups(address: str) -> tuple[int, int]:
    """That are not gone, by Ray's own tables; asked by a process that leaves again."""
    program = f"""
import ray
ray.init(address={address!r}, log_to_driver=False, logging_level="ERROR")
actors = ray._private.state.actors().values()
groups = ray.util.placement_group_table().values()
here = sum(actor["State"] != "DEAD" for actor in actors)
print("found", here, sum(group["state"] != "REMOVED" for group in groups))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"RAY_AUTH_MODE": "token"},  # a local Ray asks for its token
        check=True,
        capture_output=True,
        text=True,
    )
    actors, groups = done.stdout.split("found")[1].split()[:2]
    return int(actors), int(groups)


def kind_of(process: psutil.Process) -> str | None:
    """Which of the watched kinds a process is."""
    words = process.cmdline()
    if not words:
        return None
    text = " ".join(words)
    for kind in (*PER_KILL, *LONG_LIVED):
        if kind.startswith("ray::"):
            if text.startswith(kind):
                return kind
        elif Path(words[0]).name == kind or f"/{kind}.py" in text:
            return kind
    return None


def growth(samples: Samples) -> dict[str, dict[str, float]]:
    """Of each kind: processes, mean MB, and MB an hour within a life after its warm-up."""
    rows = {}
    for kind, processes in samples.items():
        slopes, weights, levels = [], [], []
        for points in processes.values():
            late = np.array(points[int(WARM_UP * len(points)) :])
            levels.append(late[:, 1].mean() / MB)
            if len(late) >= 4:
                slopes.append(np.polyfit(late[:, 0], late[:, 1], 1)[0] * 3600 / MB)
                weights.append(len(late))
        rows[kind] = {
            "processes": len(processes),
            "mb": round(float(np.mean(levels)), 1),
            "mb_of_first": round(float(levels[0]), 1),
            "mb_of_last": round(float(levels[-1]), 1),
            "mb_per_hour": (
                round(float(np.average(slopes, weights=weights)), 1) if slopes else np.nan
            ),
        }
    return rows


def trials_of(command: Command, output: str) -> dict[str, Any]:
    """How the trials ended, and whether what ended is on record to the query."""
    on_record = []
    for path in command.folder.rglob(JOURNAL_FILE):
        with QueryJournal(path) as journal:
            on_record.append(journal.total().candidate_queries)
    finished = len(re.findall(r"after 16,000 queries, finished", output))
    return {
        "trials_finished": finished,
        "trials_failed": len(re.findall(r"trial \d+: failed", output)),
        "journals_of_a_whole_budget": sum(count == MAX_QUERIES for count in on_record),
        "journals_beyond_the_budget": sum(count > MAX_QUERIES for count in on_record),
        "queries": sum(on_record),
        "traceback": "Traceback" in output,
        "run_folder_mb": round(
            sum(p.stat().st_size for p in command.folder.rglob("*") if p.is_file()) / MB, 1
        ),
    }


def still_running(seen: list[psutil.Process]) -> list[str]:
    """Processes that outlive their command by more than a few seconds."""
    _, alive = psutil.wait_procs(seen, timeout=10)
    return [" ".join(process.cmdline())[:80] for process in alive]


def shared_memory() -> set[str]:
    """Names in shared memory, of everybody on this machine."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def show(result: dict[str, Any]) -> None:
    """Humans' tables."""
    table = Table("process", "number", "MB", "first", "last", "MB/hour")
    for kind, row in result["growth"].items():
        table.add_row(
            kind,
            f"{row['processes']}",
            f"{row['mb']:.0f}",
            f"{row['mb_of_first']:.0f}",
            f"{row['mb_of_last']:.0f}",
            f"{row['mb_per_hour']:+.1f}",
        )
    console = Console(width=min(100, shutil.get_terminal_size().columns))
    console.print(table)
    for key, value in result.items():
        if key not in ("growth", "counts"):
            console.print(f"{key}: {value}", highlight=False)
    first, last = result["counts"][len(result["counts"]) // 4], result["counts"][-1]
    console.print(f"counts, after a quarter: {first}\ncounts, at the end:      {last}")


if __name__ == "__main__":
    main()
