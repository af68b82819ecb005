"""One fine-tuning as a job, and what it leaves on disk. Light, as `job` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray

from craft_ray.config.run import RunConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.job import Job, Reporter, Store
from craft_ray.metering.journal import Journal, is_compact, open_journal
from craft_ray.pool.address import PoolAddress


@dataclass(frozen=True)
class FineTuning(Job):
    """Tunes a prepared task.

    Attributes:
        name: of the job.
        config: its settings.
        prepared: Ray's reference to the `PreparedTask`, which many jobs may share.
        pool: whom to ask.
        place: the job's folder.
    """

    name: str
    config: RunConfig
    prepared: Any
    pool: PoolAddress
    place: Place

    @property
    def id(self) -> str:
        return self.name

    @property
    def folder(self) -> Place:
        return self.place

    def run(self, reporter: Reporter, store: Store) -> None:
        from craft_ray.jobs.tuning import tune

        prepared = ray.get(self.prepared)
        with open_journal(self.place) as journal:
            tuned = tune(self.config, prepared, self.pool, self.place, journal, reporter)
            journal.flush()  # the result counts what is on record
            store(tuned.as_dict())
            _forget(journal)

    def tidy(self) -> None:
        if not is_compact(self.place):
            with open_journal(self.place) as journal:
                _forget(journal)


def _forget(journal: Journal) -> None:
    """Nothing goes on from a result: its answers have served. What they cost stays on record."""
    journal.forget_answers()
    journal.compact()
