"""Fault drills: something dies, and the result must be that of a run in which nothing did.

    python -m benchmarks.drill

Each drill starts `python -m craft_ray.train` on the embedded task, waits until queries are on
record, breaks something for real, and compares what comes of it (after `--resume`, where the driver
was hit) with the undisturbed run: accuracies, selected generation and ledger. `lost` are candidate
queries that are not on record at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.record import commit, write_result
from craft_ray.errors import ArtifactError
from craft_ray.training.journal import QueryJournal

SETTINGS = (
    "data.shots=2",
    "data.views=1",
    "max_queries=2000",
    "evaluate_every_generations=5",
    "mlflow.enabled=false",
    "pool.replicas=2",
)
QUERIES_BEFORE_THE_FAULT = 300
A_POPULATION = 40
"""Answered after the fault: recovered."""
TIMEOUT_S = 300.0
COMPARED = ("zero_shot", "tuned", "ledger", "oracle_id")

Fault = Callable[["Run"], None]


@dataclass
class Run:
    """A command of a drill."""

    folder: Path
    name: str
    process: subprocess.Popen[str]

    @property
    def journal(self) -> Path:
        """Its record of queries."""
        return self.folder / "runs" / self.name / "worker" / "queries.db"

    def processes(self, title: str) -> list[psutil.Process]:
        """Ray's processes of this run whose title begins with `title`."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            if words and words[0].startswith(f"ray::{title}"):
                found.append(child)
        return found

    def queries(self) -> int:
        """Candidate queries on record."""
        if not self.journal.exists():
            return 0
        try:
            with QueryJournal(self.journal) as journal:
                return journal.total().candidate_queries
        except ArtifactError:  # it is being made
            return 0

    def settled_queries(self) -> int:
        """The same, once what was orphaned asks no more."""
        last = -1
        while (count := self.queries()) != last:
            last = count
            time.sleep(1.0)
        return count

    def wait_for_queries(self, at_least: int) -> None:
        """Until so many are on record."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.queries() < at_least:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {at_least} queries were not reached")
            time.sleep(0.05)


def start(folder: Path, name: str, *words: str) -> Run:
    """Start a run in a process group of its own."""
    command = [sys.executable, "-m", "craft_ray.train", *SETTINGS, f"name={name}", *words]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A background job of a shell ignores Ctrl-C, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return Run(folder, name, process)


def kill(title: str, at_most: int | None = None) -> Fault:
    """SIGKILL to processes of Ray."""

    def fault(run: Run) -> None:
        victims = run.processes(title)[:at_most]
        if not victims:
            raise RuntimeError(f"{run.name}: there is no process ray::{title}")
        for victim in victims:
            victim.send_signal(signal.SIGKILL)

    return fault


def signal_driver(number: signal.Signals, *, whole_group: bool) -> Fault:
    """A signal to the command, or to it and all it has started; it must then end."""

    def fault(run: Run) -> None:
        target = os.killpg if whole_group else os.kill
        target(run.process.pid, number)
        run.process.wait(TIMEOUT_S)

    return fault


def stop_for(title: str, seconds: float) -> Fault:
    """SIGSTOP, and after a while SIGCONT: it hangs and comes back."""

    def fault(run: Run) -> None:
        victim = run.processes(title)[0]
        victim.suspend()
        time.sleep(seconds)
        if victim.is_running():
            victim.resume()

    return fault


DRILLS: dict[str, Fault] = {
    "a replica is killed": kill("OracleReplica", 1),
    "all replicas are killed": kill("OracleReplica"),
    "a replica hangs for 5 s": stop_for("OracleReplica", 5.0),
    "the Train worker is killed": kill("RayTrainWorker"),
    "Train's controller is killed": kill("TrainController"),
    "the driver is killed": signal_driver(signal.SIGKILL, whole_group=True),
    "Ctrl-C": signal_driver(signal.SIGINT, whole_group=True),
    "SIGTERM to the driver": signal_driver(signal.SIGTERM, whole_group=False),
}


def drill(folder: Path, name: str, fault: Fault, expected: dict[str, Any]) -> dict[str, Any]:
    """One fault; what came of it."""
    run = start(folder, name)
    run.wait_for_queries(QUERIES_BEFORE_THE_FAULT)
    hit_s = time.monotonic()
    fault(run)
    before = run.queries()
    resumed = False
    while run.queries() < before + A_POPULATION and run.process.poll() is None:
        time.sleep(0.05)
    recovered_s = time.monotonic() - hit_s
    output, _ = run.process.communicate(timeout=TIMEOUT_S)
    path = folder / "runs" / name / "summary.json"
    if not path.exists():  # it has ended, perhaps after its orphans had answered a little more
        resumed = True
        before = run.settled_queries()
        run = start(folder, name, "--resume")
        run.wait_for_queries(before + A_POPULATION)
        recovered_s = time.monotonic() - hit_s
        more, _ = run.process.communicate(timeout=TIMEOUT_S)
        output += more
    summary = json.loads(path.read_text()) if path.exists() else None
    return {
        "queries_before": before,
        "recovered_s": round(recovered_s, 1),
        "resumed_by_hand": resumed,
        "equal": summary is not None and all(summary[key] == expected[key] for key in COMPARED),
        "lost": expected["ledger"]["candidate_queries"] - run.queries(),
        "retried_chunks": None if summary is None else summary["retried_chunks"],
        "traceback": "Traceback" in output,
        "output": output[-2000:] if summary is None or "Traceback" in output else "",
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(DRILLS), default=list(DRILLS))
    options = parser.parse_args()
    commit_id = commit()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undisturbed = start(folder, "undisturbed")
        output, _ = undisturbed.process.communicate(timeout=TIMEOUT_S)
        if undisturbed.process.returncode:
            raise RuntimeError(output)
        expected = json.loads((folder / "runs" / "undisturbed" / "summary.json").read_text())
        for index, drill_name in enumerate(options.only):
            rows[drill_name] = drill(folder, f"drill{index}", DRILLS[drill_name], expected)
            print(drill_name, rows[drill_name], flush=True)
    show(rows)
    print(write_result("drill", commit_id, {"settings": SETTINGS, "rows": rows}))


def show(rows: dict[str, dict[str, Any]]) -> None:
    """A human's table."""
    table = Table("fault", "at query", "recovered", "by --resume", "equal", "lost", "retried")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row['queries_before']:,}",
            f"{row['recovered_s']:.1f} s",
            "yes" if row["resumed_by_hand"] else "no",
            "yes" if row["equal"] else "NO",
            f"{row['lost']}",
            f"{row['retried_chunks']}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
