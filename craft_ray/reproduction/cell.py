"""One cell as a job: samples, fine-tunes on its backbone's pool, and tests once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from craft_ray.config.data import ShiftedName
from craft_ray.config.run import RunConfig
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place, entries
from craft_ray.jobs.job import Job, Reporter, Store
from craft_ray.metering.journal import JOURNAL_FOLDER, remove_journal
from craft_ray.pool.address import PoolAddress
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.places import WORKER_FOLDER, cell_folder, worker_folder
from craft_ray.reproduction.zero_shot import ZeroShot


@dataclass(frozen=True)
class CellJob(Job):
    """Runs one cell.

    Attributes:
        cell: which.
        config: its settings.
        shifted: data sets that a classifier tuned on ImageNet is tested on as well.
        grid: folder of the reproduction.
        zero_shot: what it measures beside its result; None: another cell does.
        pool: of its backbone; None until that is up.
    """

    cell: Cell
    config: RunConfig
    shifted: Sequence[ShiftedName]
    grid: Place
    zero_shot: ZeroShot | None = None
    pool: PoolAddress | None = None

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def folder(self) -> Place:
        return cell_folder(self.grid, self.cell)

    def run(self, reporter: Reporter, store: Store) -> None:
        # Imported here: the driver needs no torch.
        from craft_ray.reproduction.measure import measure_cell

        assert self.pool is not None
        store(
            measure_cell(
                self.cell,
                self.config,
                self.shifted,
                self.zero_shot,
                self.grid,
                self.pool,
                reporter,
            )
        )
        self.tidy()

    def tidy(self) -> None:
        # States and answers have served: the result says what was found and spent.
        there = {path.name for path in entries(self.folder)}
        if WORKER_FOLDER in there:
            remove_folder(worker_folder(self.grid, self.cell))
        if any(name.startswith(JOURNAL_FOLDER) for name in there):  # or the file, on a disk
            remove_journal(self.folder)
