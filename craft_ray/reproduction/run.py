"""A whole reproduction: pools, one Tune experiment over what is left of the grid, tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, RunInterruptedError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_json
from craft_ray.jobs.job import read_result
from craft_ray.jobs.live import waiting
from craft_ray.jobs.ray_session import ray_session
from craft_ray.jobs.resources import concurrent_jobs
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.shared_storage import check_nodes_share
from craft_ray.jobs.slots import Slots
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.reproduction.cell import CellJob, cell_folder
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.monitor import CellMonitor
from craft_ray.reproduction.plots import (
    BY_QUERIES_FILE,
    BY_SHOTS_FILE,
    plot_by_queries,
    plot_by_shots,
)
from craft_ray.reproduction.pools import PoolRelay, board_of
from craft_ray.reproduction.results import summarise
from craft_ray.reproduction.tables import write_tables
from craft_ray.task.provenance import versions
from craft_ray.tracking import make_tracker, tracking_folder


def run_reproduction(
    config: ReproductionConfig,
    settings: Mapping[Cell, RunConfig],
    missing: Mapping[str, str],
    folder: Place,
    console: Console,
) -> dict[str, Any]:
    """Run the cells that have no result yet, then write tables and plots; returns the summary.

    Args:
        config: the grid.
        settings: the cells, in the order in which they run, and their runs' settings.
        missing: data set -> the path that is not there; for the summary.
        folder: of the reproduction.
        console: where to print.

    Raises:
        UserError: tracking or the cluster does not answer, or not even one cell fits into it.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: some cells have failed; tables of the others are written.
    """
    started = time.monotonic()
    shifted = [name for name in config.shifted if name not in missing]
    jobs = [
        CellJob(cell, run, shifted, board_of(folder.name), cell_folder(folder, cell))
        for cell, run in settings.items()
    ]
    left = [job for job in jobs if read_result(job.folder) is None]
    failed: Mapping[str, str] = {}
    if left:
        failed = _run_cells(config, left, len(jobs), folder, console)
    results = [r for job in jobs if (r := read_result(job.folder)) is not None]
    rows = summarise(results)
    if rows:
        write_tables(rows, folder)
        plot_by_shots(rows, folder / BY_SHOTS_FILE)
        plot_by_queries(results, folder / BY_QUERIES_FILE)
    if failed:
        raise RunFailedError(
            f"{len(failed)} of {len(settings)} cells have failed; tables of the others are in "
            f"{folder}, and --resume tries again: " + ", ".join(failed)
        )
    summary = {
        "name": folder.name,
        "rows": [row.as_dict() for row in rows],
        "missing": dict(missing),
        "seconds": round(time.monotonic() - started, 3),
        "versions": versions(),
        "settings": config.model_dump(mode="json"),
    }
    write_json(folder / SUMMARY_FILE, summary)
    return summary


def _run_cells(
    config: ReproductionConfig,
    left: Sequence[CellJob],
    num_cells: int,
    folder: Place,
    console: Console,
) -> Mapping[str, str]:
    """Run cells in slots; returns those that have failed.

    Raises:
        RunInterruptedError: the user stopped it.
    """
    shared = left[0].config  # pool, Ray and tracker are those of all cells
    oracles = {job.cell.backbone: job.config.oracle for job in left}
    cells_of = Counter(job.cell.backbone for job in left)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    tracker = make_tracker(shared.mlflow, tracking_folder(folder.parent), say)
    try:
        with ExitStack() as stack:
            with waiting(console, "Starting Ray"):
                stack.enter_context(ray_session(shared.ray))
                place = place_trials(shared, cluster_nodes())
                number = concurrent_jobs(shared, config.max_concurrent_cells, place)
                check_nodes_share(folder, shared, kept_free=shared.pool.cpus_per_replica)
            slots = stack.enter_context(Slots(number, shared.ray.cpus_per_worker, place.selector))
            relay = stack.enter_context(PoolRelay(folder.name, oracles, cells_of, shared.pool, say))
            num_done = num_cells - len(left)
            monitor = CellMonitor(
                console, tracker, folder.name, num_cells, num_done, relay.cell_ended
            )
            tracker.open(monitor.parent_key, folder.name, flatten(_values(config)))
            try:
                with monitor:
                    slots.run(left, monitor)
            except KeyboardInterrupt as error:
                tracker.close(monitor.parent_key, "KILLED")
                ended = sum(read_result(job.folder) is not None for job in left)
                words = f"{num_done + ended} of {num_cells} cells have ended"
                raise RunInterruptedError(words) from error
            tracker.close(monitor.parent_key, "FAILED" if monitor.failed else "FINISHED")
            return monitor.failed
    finally:
        tracker.shutdown()


def _values(config: ReproductionConfig) -> dict[str, Any]:
    """The grid as parameters: lists are shown as text."""
    document = config.model_dump(mode="json", exclude={"run"})
    texts = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in document.items()}
    return {**texts, **config.run}
