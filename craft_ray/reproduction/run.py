"""A whole reproduction: pools, one Tune experiment over what is left of the grid, tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray.tune
from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, RunInterruptedError
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_json
from craft_ray.jobs.ray_session import ray_session
from craft_ray.jobs.ray_storage import ray_storage
from craft_ray.jobs.resources import concurrent_trials
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.shared_storage import check_nodes_share
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.reproduction.cell import ReproductionJob, read_result, run_cell
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
from craft_ray.search.trial import trial_resources
from craft_ray.task.provenance import versions
from craft_ray.tracking import Tracker, make_tracker, tracking_folder

TUNE_FOLDER = "tune"
MAX_CELL_FAILURES = 1
"""A node may be lost; what fails twice will fail again."""


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
    job = ReproductionJob(
        settings={cell.id: run for cell, run in settings.items()},
        cells={cell.id: cell for cell in settings},
        shifted=[name for name in config.shifted if name not in missing],
        board=board_of(folder.name),
        folder=folder,
    )
    left = [cell for cell in settings if read_result(folder, cell.id) is None]
    failed: Mapping[str, str] = {}
    if left:
        failed = _run_cells(config, job, left, console)
    results = [r for cell in settings if (r := read_result(folder, cell.id)) is not None]
    if len(results) + len(failed) < len(settings):
        raise RunInterruptedError(f"{len(results)} of {len(settings)} cells have ended")
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
    config: ReproductionConfig, job: ReproductionJob, left: Sequence[Cell], console: Console
) -> Mapping[str, str]:
    """One Tune experiment; returns the cells that have failed."""
    shared = job.settings[left[0].id]  # pool, Ray and tracker are those of all cells
    oracles = {cell.backbone: job.settings[cell.id].oracle for cell in left}
    num_cells = Counter(cell.backbone for cell in left)

    def say(text: str) -> None:
        console.print(text, highlight=False)

    tracker = make_tracker(shared.mlflow, tracking_folder(job.folder.parent), say)
    try:
        with ray_session(shared.ray):
            place = place_trials(shared, cluster_nodes())
            wanted = config.max_concurrent_cells
            concurrency = concurrent_trials(shared, wanted, place.num_replicas, place.num_cpus)
            check_nodes_share(job.folder, shared, kept_free=shared.pool.cpus_per_replica)
            with PoolRelay(job.folder.name, oracles, num_cells, shared.pool, say) as relay:
                num_done = len(job.cells) - len(left)
                monitor = CellMonitor(console, tracker, job, num_done, relay.cell_ended)
                tracker.open(monitor.parent_key, job.folder.name, flatten(_values(config)))
                with monitor:
                    _tuner(job, left, concurrency, monitor).fit()
                is_done = all(
                    read_result(job.folder, cell.id) or cell.id in monitor.failed for cell in left
                )
                _end_parent(tracker, monitor, is_done=is_done)
                return monitor.failed
    finally:
        tracker.shutdown()


def _end_parent(tracker: Tracker, monitor: CellMonitor, *, is_done: bool) -> None:
    if not is_done:
        tracker.close(monitor.parent_key, "KILLED")
        return
    tracker.close(monitor.parent_key, "FAILED" if monitor.failed else "FINISHED")


def _values(config: ReproductionConfig) -> dict[str, Any]:
    """The grid as parameters: lists are shown as text."""
    document = config.model_dump(mode="json", exclude={"run"})
    texts = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in document.items()}
    return {**texts, **config.run}


def _tuner(
    job: ReproductionJob, left: Sequence[Cell], concurrency: int, monitor: CellMonitor
) -> ray.tune.Tuner:
    # Results and checkpoints are in the cells' own folders: of an earlier part of this reproduction
    # Tune needs to know nothing.
    remove_folder(job.folder / TUNE_FOLDER)
    resources = trial_resources(job.settings[left[0].id])
    return ray.tune.Tuner(
        ray.tune.with_resources(ray.tune.with_parameters(run_cell, job=job), resources),
        param_space={"cell": ray.tune.grid_search([cell.id for cell in left])},
        tune_config=ray.tune.TuneConfig(
            max_concurrent_trials=concurrency,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=ray.tune.RunConfig(
            name=TUNE_FOLDER,
            **ray_storage(job.folder),
            callbacks=[monitor],
            failure_config=ray.tune.FailureConfig(max_failures=MAX_CELL_FAILURES),
            verbose=0,
        ),
    )
