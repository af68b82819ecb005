"""A search of 100 trials in eight hours: does the driver grow, and what reaches MLflow and S3?

    python -m benchmarks.long_search

Nobody waits: clocks are set. The first part lets the driver's side of a search hear of 100 trials,
four at a time, of 8,000 queries in 200 generations each: monitor, display, spool and sender, with
MLflow's own SQLite store. Private memory of the process is taken after each trial and must not grow
(MB for each 100 trials, by least squares after a quarter). The second part makes trials of 8,000
queries with their records on a real S3 server (moto's), of a made-up oracle, and counts the
requests in the server's log. `--generations` makes trials longer.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import psutil
from rich.console import Console

from benchmarks.record import commit, write_result
from craft_ray.config.loading import change_run_config
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import CRAFT_RUN
from craft_ray.files.remote import RemotePath
from craft_ray.jobs import fine_tuning, tuning
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.worker import run
from craft_ray.metering import journal_objects
from craft_ray.metering.ledger import Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.search.display import SearchDisplay
from craft_ray.search.monitor import SearchMonitor
from craft_ray.tracking.mlflow_tracker import MlflowTracker
from craft_ray.tracking.places import DATABASE_FILE, database_uri

TRIALS, AT_A_TIME, HOURS, POPULATION, EVERY = 100, 4, 8.0, 40, 5
WARM_UP = 1 / 4
STORED_TRIALS = 3
BUCKET = "bucket-of-benchmark"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_search", description=__doc__)
    parser.add_argument("--generations", type=int, default=200)
    options = parser.parse_args()
    commit_id = commit()
    result = {
        "trials": TRIALS,
        "generations": options.generations,
        "driver": driver(options.generations),
        "storage": storage(options.generations),
    }
    print(result)
    print(write_result("long_search", commit_id, result))


def driver(generations: int) -> dict[str, Any]:
    """Memory of the driver's side over the trials, and what MLflow has in the end."""
    config = change_run_config(CRAFT_RUN, [("max_queries", POPULATION * generations)], "trial")
    memory = []
    with tempfile.TemporaryDirectory(prefix="craft-ray-long-") as name:
        folder = Path(name)
        tracker = MlflowTracker(database_uri(folder / DATABASE_FILE), "long", folder)
        most = Spending(candidate_queries=config.max_queries)
        display = SearchDisplay(
            Console(file=io.StringIO()), TRIALS, 0, TRIALS * config.max_queries, dict
        )
        monitor = SearchMonitor(
            display, tracker, "long", lambda _: config, lambda _: most, frozenset(), lambda *_: None
        )
        started_s = time.monotonic()
        tracker.open(monitor.keys.parent, "long", {})
        with monitor:
            for first in range(1, TRIALS + 1, AT_A_TIME):
                trials = [new_trial(number) for number in range(first, first + AT_A_TIME)]
                for trial in trials:
                    monitor.on_trial_start(0, [], trial)
                for stop in range(EVERY, generations + 1, EVERY):
                    for trial in trials:
                        trial.last_result = report_of(stop, generations)
                        monitor.on_trial_result(0, [], trial, trial.last_result)
                for trial in trials:
                    monitor.on_trial_complete(0, [], trial)
                while tracker._own.count():  # a search of hours leaves it the time
                    time.sleep(0.05)
                memory.append(round(private_mb(), 1))
        tracker.close(monitor.keys.parent, "FINISHED")
        tracker.shutdown()
        with sqlite3.connect(folder / DATABASE_FILE) as database:
            (rows,) = database.execute("SELECT COUNT(*) FROM metrics").fetchone()
        kept_mb = (folder / DATABASE_FILE).stat().st_size / 2**20
    after = np.arange(len(memory)) >= WARM_UP * len(memory)
    slope, _ = np.polyfit(np.flatnonzero(after) * AT_A_TIME, np.array(memory)[after], 1)
    return {
        "private_mb": memory,
        "trials_between": AT_A_TIME,
        "mb_each_100_trials": round(100 * float(slope), 2),
        "mlflow_rows_a_trial": round(rows / TRIALS, 1),
        "mlflow_database_mb": round(kept_mb, 1),
        "seconds": round(time.monotonic() - started_s, 1),
    }


def new_trial(number: int) -> Any:
    """As Tune tells of one."""
    return cast(Any, SimpleNamespace(experiment_tag=f"{number}_", config={}, last_result=None))


def report_of(stop: int, generations: int) -> dict[str, Any]:
    """Of `EVERY` generations."""
    pool = ("queries_per_s", "batch_fill", "queue_wait_s", "service_s", "retries")
    losses = {"fitness_best": 1.0, "fitness_median": 1.5, "head_loss": 0.5}
    points = [
        {
            "generation": float(generation),
            "candidate_queries": float(POPULATION * generation),
            **losses,
            **{f"pool_{name}": 1.0 for name in pool},
            "time_ms": time.time_ns() // 10**6 + generation,
        }
        for generation in range(stop - EVERY + 1, stop + 1)
    ]
    points[-1] |= {"val_accuracy": 0.75, "val_loss": 0.7}
    return {
        "generation": stop,
        "candidate_queries": POPULATION * stop,
        "val_accuracy": 0.75,
        "val_loss": 0.7,
        "val_calibration_error": 0.1,
        "predictions_per_image": 1,
        "train_seconds": 60.0,
        "image_predictions": stop,
        "outcome": "finished" if stop == generations else "running",
        "points": points,
    }


def private_mb() -> float:
    """Resident memory that is this process's own."""
    found = psutil.Process().memory_info()
    return float(found.rss - found.shared) / 2**20


class Clock:
    """In place of `time`; each generation takes its share of the hours."""

    def __init__(self, generation_s: float) -> None:
        self.now_s, self.generation_s = 0.0, generation_s
        self.time_ns = time.time_ns

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s


def storage(generations: int) -> dict[str, Any]:
    """Requests of a trial whose folder is on S3, to the last thing that its worker does; the
    command makes five more for each. Answers are of a few KB, and a few of them make one object: a
    large one is sent in several requests."""
    from tests.support.fake_pool import FakePool
    from tests.support.reporters import SilentReporter
    from tests.support.world import make_world, run_config, world_data

    config: RunConfig = run_config(
        max_queries=POPULATION * generations,
        optimizer={"population": POPULATION},
        evaluate_every_generations=EVERY,
    )
    pool = FakePool()
    world = make_world(config, pool, world_data())
    clock = Clock(HOURS * 3600 * AT_A_TIME / TRIALS / generations)
    begin = MeteredOracle.begin_generation

    def begin_generation(oracle: MeteredOracle, generation: int) -> None:
        clock.now_s += clock.generation_s
        begin(oracle, generation)

    rows = []
    with (
        s3_server() as (address, log),
        patch.object(tuning, "PoolOracle", lambda *_: pool),
        patch.object(fine_tuning, "ray", SimpleNamespace(get=lambda prepared: prepared)),
        patch.object(tuning, "time", clock),
        patch.object(journal_objects, "time", clock),
        patch.object(MeteredOracle, "begin_generation", begin_generation),
    ):
        not_a_trials = Counter(requests_in(log))
        for number in range(STORED_TRIALS):
            before = sum(requests_in(log).values())
            folder = RemotePath(address) / str(number)
            pool.questions.clear()
            job = FineTuning("trial", config, world.prepared, cast(Any, None), folder)
            run(job, SilentReporter(), lambda: True)
            rows.append(sum(requests_in(log).values()) - before)
        methods = dict(Counter(requests_in(log)) - not_a_trials)
    hours = generations * clock.generation_s / 3600
    return {"requests_of_each_trial": rows, "methods": methods, "hours_of_a_trial": round(hours, 3)}


@contextmanager
def s3_server() -> Iterator[tuple[str, Path]]:
    """The address of a folder on a server of its own, and the server's log."""
    credentials = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        tempfile.NamedTemporaryFile(prefix="craft-ray-s3-") as log,
        patch.dict(os.environ, credentials),
    ):
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            bucket = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
            for _ in range(300):
                try:
                    urllib.request.urlopen(bucket, timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            options = f"endpoint_override=127.0.0.1:{port}&scheme=http"
            yield f"s3://{BUCKET}/runs?{options}", Path(log.name)
        finally:
            server.kill()
            server.wait()


def requests_in(log: Path) -> dict[str, int]:
    """By method."""
    time.sleep(0.3)  # for the last lines
    found = re.findall(r"(GET|PUT|HEAD|POST|DELETE) \S+ HTTP", log.read_text())
    return dict(sorted(Counter(found).items()))


if __name__ == "__main__":
    main()
