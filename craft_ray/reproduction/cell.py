"""One cell: a Tune function that samples, fine-tunes on its backbone's pool, and tests once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray.tune

from craft_ray.config.run import RunConfig
from craft_ray.errors import UserError
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.metering.journal import remove_journal
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.pools import wait_for_pool

RESULT_FILE = "result.json"
FAILURE_FILE = "failure.json"
WORKER_FOLDER = "worker"


@dataclass(frozen=True)
class ReproductionJob:
    """What all cells share."""

    settings: Mapping[str, RunConfig]
    """Of each cell, by its id."""
    cells: Mapping[str, Cell]
    shifted: Sequence[str]
    board: str
    folder: Place


def cell_folder(folder: Place, cell_id: str) -> Place:
    """Where a cell keeps its result, and while it runs its checkpoints."""
    return folder / "cells" / cell_id


def read_result(folder: Place, cell_id: str) -> dict[str, Any] | None:
    """What a cell has found; None if it has not ended yet."""
    path = cell_folder(folder, cell_id) / RESULT_FILE
    return read_json(path) if path.exists() else None


def read_failure(folder: Place, cell_id: str) -> str | None:
    """What a user must mend before a cell can run; None if nothing is known."""
    path = cell_folder(folder, cell_id) / FAILURE_FILE
    return str(read_json(path)["error"]) if path.exists() else None


def run_cell(params: dict[str, Any], job: ReproductionJob) -> None:
    """Run the cell `params["cell"]`, from its last checkpoint if there is one."""
    # Imported here: Ray loads this module in processes that need no torch.
    from craft_ray.reproduction.measure import measure_cell

    cell = job.cells[params["cell"]]
    folder = cell_folder(job.folder, cell.id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE_FILE).unlink(missing_ok=True)
    try:
        pool = wait_for_pool(job.board, cell.backbone)
        config = job.settings[cell.id]
        result = measure_cell(cell, config, job.shifted, folder, pool, ray.tune.report)
    except UserError as error:  # it would come again: no second attempt, no traceback
        write_json(folder / FAILURE_FILE, {"error": str(error)})
        return
    write_json(folder / RESULT_FILE, result)
    # Checkpoints and answers have served: the result says what was found and spent.
    remove_folder(folder / WORKER_FOLDER)
    remove_journal(folder)
