"""A whole reproduction: pools in turn, slots for what is left of the grid, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import OracleError, PoolError, RunFailedError, RunInterruptedError
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_json
from craft_ray.jobs.cluster import slots_on_cluster
from craft_ray.jobs.job import JobEnd, read_result, take_up_result
from craft_ray.jobs.live import waiting
from craft_ray.jobs.record import run_tags
from craft_ray.jobs.run_clock import RunClock
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.slots import Slots
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.lifecycle import ClipFactory, running_pool
from craft_ray.pool.membership import decide_size
from craft_ray.reproduction.cell import CellJob
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.monitor import CellMonitor
from craft_ray.reproduction.plots import (
    BY_QUERIES_FILE,
    BY_SHOTS_FILE,
    plot_by_queries,
    plot_by_shots,
)
from craft_ray.reproduction.results import comparable, summarise
from craft_ray.reproduction.tables import write_tables
from craft_ray.reproduction.too_few import LeftOut
from craft_ray.reproduction.verified import FOLDER as VERIFIED_FOLDER
from craft_ray.reproduction.zero_shot import ZeroShotTurns
from craft_ray.task.provenance import versions
from craft_ray.tracking import make_tracker, tracked, tracking_folder


def run_reproduction(
    config: ReproductionConfig,
    settings: Mapping[Cell, RunConfig],
    missing: Mapping[str, str],
    left_out: Sequence[LeftOut],
    folder: Place,
    console: Console,
) -> dict[str, Any]:
    """Run the cells that have no result yet, then write tables and plots; returns the summary.

    Args:
        config: the grid.
        settings: the cells, in the order in which they run, and their runs' settings.
        missing: data set -> the path that is not there; for the summary.
        left_out: which cells of the grid cannot run; for the summary.
        folder: of the reproduction.
        console: where to print.

    Raises:
        UserError: tracking or the cluster does not answer, or not even one cell fits into it.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: some cells have failed; tables of the others are written.
    """
    clock = RunClock(folder)
    shifted = [name for name in config.shifted if name not in missing]
    jobs = [CellJob(cell, run, shifted, folder) for cell, run in settings.items()]
    left: list[CellJob] = []
    turns = ZeroShotTurns(settings, config, shifted)
    for job in jobs:
        if (result := take_up_result(job)) is None:
            left.append(job)
        else:
            turns.end(job.cell, result)
    failed: Mapping[str, str] = {}
    if left:
        try:
            failed = _run_cells(config, left, len(jobs), turns, folder, console)
        finally:
            clock.store_if_possible()
    results = [r for job in jobs if (r := read_result(job.folder)) is not None]
    rows = summarise(results)
    if rows:
        write_tables(rows, comparable(results), folder)
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
        "left_out": [each.as_dict() for each in left_out],
        "seconds": round(clock.total_s, 3),
        "versions": versions(),
        "settings": config.model_dump(mode="json"),
    }
    write_json(folder / SUMMARY_FILE, summary)
    remove_folder(folder / VERIFIED_FOLDER)
    return summary


def _run_cells(
    config: ReproductionConfig,
    left: Sequence[CellJob],
    num_cells: int,
    turns: ZeroShotTurns,
    folder: Place,
    console: Console,
) -> Mapping[str, str]:
    """Run cells in slots; returns those that have failed.

    Raises:
        RunInterruptedError: the user stopped it.
        RunFailedError: the slots were lost.
    """
    shared = left[0].config  # pool, Ray and tracker are those of all cells

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    tracker = make_tracker(shared.mlflow, tracking_folder(folder.parent), say)
    try:
        with ExitStack() as stack:
            slots = slots_on_cluster(shared, folder, config.max_concurrent_cells)
            stack.enter_context(slots)
            num_done = num_cells - len(left)
            monitor = CellMonitor(console, tracker, folder.name, num_cells, num_done, turns)
            params = flatten(_values(config))
            tags = run_tags("reproduce", shared)  # of a model and a method are its cells
            own = {name: tags[name] for name in tags if name.startswith("mlflow.")}
            with tracked(tracker, monitor.parent_key, folder.name, params, own) as run:
                try:
                    with monitor:
                        for backbone, jobs in groupby(left, key=lambda job: job.cell.backbone):
                            _run_on_backbone(
                                backbone, list(jobs), turns, folder, slots, monitor, console
                            )
                except KeyboardInterrupt as error:
                    ended = sum(read_result(job.folder) is not None for job in left)
                    words = f"{num_done + ended} of {num_cells} cells have ended"
                    raise RunInterruptedError(words) from error
                finally:
                    monitor.close_open()
                if monitor.failed:
                    run.status = "FAILED"
            return monitor.failed
    finally:
        tracker.shutdown()


def _run_on_backbone(
    backbone: str,
    jobs: Sequence[CellJob],
    turns: ZeroShotTurns,
    folder: Place,
    slots: Slots,
    monitor: CellMonitor,
    console: Console,
) -> None:
    """Bring up the backbone's pool, run its cells, and end the pool: two models at a time might not
    fit into the GPUs. Without a pool these cells fail, and those of other backbones go on."""
    config = jobs[0].config
    size = decide_size(config.pool, cluster_nodes())
    factory = ClipFactory(config.local_model, size.device, size.threads_per_replica)
    with ExitStack() as stack:
        try:
            with waiting(console, f"Starting oracle replicas of {backbone} on {size.device}"):
                name = f"{folder.name}/{backbone}"
                pool = stack.enter_context(running_pool(name, factory, config.pool, size))
        except (OracleError, PoolError) as error:
            for job in jobs:
                monitor.on_start(job)
                monitor.on_end(job, JobEnd("failed", f"no pool for {backbone}: {error}"))
            return
        # Not a list: whether a cell measures zero-shot is decided when its slot is free.
        starting = (replace(job, pool=pool.address, zero_shot=turns.take(job.cell)) for job in jobs)
        slots.run(starting, monitor)


def _values(config: ReproductionConfig) -> dict[str, Any]:
    """The grid as parameters: lists are shown as text."""
    document = config.model_dump(mode="json", exclude={"run"})
    texts = {k: ", ".join(map(str, v)) if isinstance(v, list) else v for k, v in document.items()}
    return {**texts, **config.run}
