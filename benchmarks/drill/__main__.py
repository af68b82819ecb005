"""Fault drills: something dies, and the result must be that of a run in which nothing did.

    python -m benchmarks.drill

Each drill starts `python -m craft_ray.train` (or `tune`) on the embedded task, waits until queries
are on record, breaks something for real, and compares what comes of it (after `--resume`, where the
command has ended) with the undisturbed run: accuracies, selected generation and ledger. `lost` are
candidate queries that are not on record at the end; `again` are predictions that the replicas gave
beyond those of the undisturbed run, where all replicas have lived to tell.
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.drill.faults import (
    DeadTracker,
    FailingReload,
    Fault,
    FullDisk,
    FullDiskOfSearch,
    Hang,
    Kill,
    KillTrial,
    LostNode,
    OtherKernels,
    SameName,
    SecondDriver,
    SignalDriver,
    SlowEncoding,
)
from benchmarks.product import Command, start
from benchmarks.record import commit, write_result
from craft_ray.config.shipped import CRAFT_RUN

SETTINGS = {
    "data.shots": 2,
    "data.views": 1,
    "max_queries": 2000,
    "evaluate_every_generations": 5,
    "mlflow.enabled": "false",
    "pool.replicas": 2,
    "pool.threads_per_replica": 1,
}
SEARCH_SETTINGS = {"trials": 2, "max_concurrent_trials": 1}
SPACE = """
parameters:
  optimizer.sigma: {kind: log_uniform, low: 0.01, high: 1.0}
  head.learning_rate: {kind: log_uniform, low: 3.0e-4, high: 3.0e-2}
scheduler: {kind: none}
"""
QUERIES_BEFORE_THE_FAULT = 300
A_POPULATION = 40
"""Answered after the fault: recovered."""

DRILLS: dict[str, Callable[[], Fault]] = {
    "a replica is killed": lambda: Kill("OracleReplica", 1),
    "all replicas are killed": lambda: Kill("OracleReplica"),
    "a replica hangs for 5 s": lambda: Hang(5.0),
    "a node with a replica is lost": LostNode,
    "the Train worker is killed": lambda: Kill("RayTrainWorker"),
    "Train's controller is killed": lambda: Kill("TrainController"),
    "a trial of a search is killed": KillTrial,
    "the driver is killed": lambda: SignalDriver(signal.SIGKILL, whole_group=True),
    "Ctrl-C": lambda: SignalDriver(signal.SIGINT, whole_group=True),
    "SIGTERM to the driver": lambda: SignalDriver(signal.SIGTERM, whole_group=False),
    "the disk is full": FullDisk,
    "the disk is full under a search": FullDiskOfSearch,
    "MLflow's server is killed": DeadTracker,
    "a replica cannot load again for 10 s": lambda: FailingReload(10.0),
    "a first encoding takes longer than a chunk may": SlowEncoding,
    "resumed with other matrix kernels": OtherKernels,
    "a second driver": SecondDriver,
    "two runs of one name": SameName,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(DRILLS), default=list(DRILLS))
    options = parser.parse_args()
    commit_id = commit()
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        undisturbed: dict[str, dict[str, Any]] = {}
        for index, drill_name in enumerate(options.only):
            fault = DRILLS[drill_name]()
            if fault.module not in undisturbed:
                undisturbed[fault.module] = run_undisturbed(fault.module, Path(name))
            directory = Path(name) / f"drill{index}"
            directory.mkdir()
            fault.enter(directory)
            try:
                rows[drill_name] = drill(fault, undisturbed[fault.module])
            finally:
                fault.leave()
            print(drill_name, rows[drill_name], flush=True)
    show(rows)
    print(write_result("drill", commit_id, {"settings": SETTINGS, "rows": rows}))


def run_undisturbed(module: str, directory: Path) -> dict[str, Any]:
    """The summary of a run in which nothing is broken."""
    command = launch(module, directory, f"undisturbed-{module}")
    output = command.wait()
    if command.process.returncode:
        raise RuntimeError(output)
    summary: dict[str, Any] = json.loads(command.summary.read_text())
    return summary


def launch(module: str, directory: Path, name: str, words: Sequence[str] = ()) -> Command:
    """Start the command of a drill."""
    settings = dict(SETTINGS)
    files = [str(CRAFT_RUN)]
    if module == "tune":
        space = directory / "space.yaml"
        space.write_text(SPACE)
        files = [space.name]
        settings |= SEARCH_SETTINGS
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return start(module, name, [*files, *overrides, *words], directory)


def drill(fault: Fault, expected: dict[str, Any]) -> dict[str, Any]:
    """One fault; what came of it."""
    command = launch(fault.module, fault.directory, "run", fault.words)
    command.wait_for_queries(QUERIES_BEFORE_THE_FAULT)
    hit_s = time.monotonic()
    fault.strike(command)
    before = command.queries()
    while command.queries() < before + A_POPULATION and command.process.poll() is None:
        time.sleep(0.05)
    recovered_s = time.monotonic() - hit_s
    output = command.wait()
    resumed = command.process.returncode != 0
    if resumed:  # perhaps after its orphans had answered a little more
        fault.repair(command)
        before = command.settled_queries()
        started_s = time.monotonic()
        command = launch(fault.module, fault.directory, "run", [*fault.words, "--resume"])
        command.wait_for_queries(before + A_POPULATION)
        recovered_s = time.monotonic() - started_s
        output += command.wait()
    fault.after(command)
    summary = json.loads(command.summary.read_text()) if command.summary.exists() else None
    return {
        "queries_before": before,
        "recovered_s": round(recovered_s, 1),
        "resumed_by_hand": resumed,
        "equal": summary is not None and essence(summary) == essence(expected),
        "lost": expected["ledger"]["candidate_queries"] - command.queries(),
        "again": None if summary is None or resumed else served_again(summary, expected),
        "retried_chunks": None if summary is None else summary["retried_chunks"],
        "traceback": "Traceback" in output,
        "output": output[-2000:] if summary is None or resumed or "Traceback" in output else "",
    }


def essence(summary: dict[str, Any]) -> dict[str, Any]:
    """What a fault must not change."""
    kept = {key: summary[key] for key in ("zero_shot", "ledger", "oracle_id")}
    if "tuned" in summary:
        return {**kept, "tuned": summary["tuned"]}
    trials = [
        {key: trial[key] for key in ("number", "status", "params", "validation", "ledger")}
        for trial in summary["trials"]
    ]
    return {**kept, "trials": trials, "best": summary["best"]["test"]}


def served_again(summary: dict[str, Any], expected: dict[str, Any]) -> int | None:
    """Contexts that the replicas have predicted beyond those of the undisturbed run; None if one
    has begun to count anew."""
    if summary["retried_chunks"] or summary["pool"].keys() != expected["pool"].keys():
        return None
    served = [sum(seat["candidates"] for seat in of["pool"].values()) for of in (summary, expected)]
    return int(served[0] - served[1])


def show(rows: dict[str, dict[str, Any]]) -> None:
    """A human's table."""
    table = Table(
        "fault", "at query", "recovered", "by --resume", "equal", "lost", "again", "retried"
    )
    for name, row in rows.items():
        table.add_row(
            name,
            f"{row['queries_before']:,}",
            f"{row['recovered_s']:.1f} s",
            "yes" if row["resumed_by_hand"] else "no",
            "yes" if row["equal"] else "NO",
            f"{row['lost']}",
            "" if row["again"] is None else f"{row['again']}",
            f"{row['retried_chunks']}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
