"""One cell as a job: samples, fine-tunes on its backbone's pool, and tests once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from craft_ray.config.data import ShiftedName
from craft_ray.config.run import RunConfig
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place
from craft_ray.jobs.job import Job, Reporter
from craft_ray.metering.journal import remove_journal
from craft_ray.pool.address import PoolAddress
from craft_ray.reproduction.grid import Cell

WORKER_FOLDER = "worker"
"""In a cell's folder: of its fine-tuning."""


@dataclass(frozen=True)
class CellJob(Job):
    """Runs one cell.

    Attributes:
        cell: which.
        config: its settings.
        shifted: data sets that a classifier tuned on ImageNet is tested on as well.
        hand_crafted: template with which zero-shot is tested as well; None: it is not.
        place: its folder.
        pool: of its backbone; None until that is up.
    """

    cell: Cell
    config: RunConfig
    shifted: Sequence[ShiftedName]
    hand_crafted: str | None
    place: Place
    pool: PoolAddress | None = None

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def folder(self) -> Place:
        return self.place

    def run(self, reporter: Reporter) -> dict[str, Any]:
        # Imported here: the driver needs no torch.
        from craft_ray.reproduction.measure import measure_cell

        assert self.pool is not None
        worker = self.place / WORKER_FOLDER
        return measure_cell(
            self.cell,
            self.config,
            self.shifted,
            self.hand_crafted,
            self.place,
            worker,
            self.pool,
            reporter,
        )

    def tidy(self) -> None:
        # States and answers have served: the result says what was found and spent.
        remove_folder(self.place / WORKER_FOLDER)
        remove_journal(self.place)


def cell_folder(folder: Place, cell: Cell) -> Place:
    """Where a cell keeps its result, and while it runs its states."""
    return folder / "cells" / cell.id
