"""How a driver asks: it searches nothing, and what it has paid for is on record like a worker's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from craft_ray.config.run import RunConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.run_folder import is_finished
from craft_ray.metering.answer_cache import open_answer_cache
from craft_ray.metering.journal import open_journal, remove_journal
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle


@contextmanager
def driver_oracle(
    config: RunConfig, pool: PoolAddress, folder: Place, *, may_go_on: bool = False
) -> Iterator[MeteredOracle]:
    """The oracle of a run's driver, with its record in `folder`: a driver that is started again
    asks nothing that is on it.

    If nothing was asked, no record is left behind.

    Args:
        config: of the run.
        pool: whom to ask.
        folder: of the run.
        may_go_on: a finished run may be given more to do, and then asks the same once more: its
            answers are kept, also those on the test images. Else they are dropped at its end.

    Raises:
        ArtifactError: the record is damaged.
    """
    is_empty = False
    try:
        with open_journal(folder) as journal:
            cache = open_answer_cache(config.answer_cache)
            try:
                # No budget: not one candidate query.
                pool_oracle = PoolOracle(pool, config.pool)
                yield MeteredOracle(pool_oracle, QueryLedger(0), journal, cache, by_content=True)
                if not may_go_on and is_finished(
                    folder
                ):  # answers on a large test split are hundreds of MB
                    journal.forget_answers(before_generation=1)
                    journal.compact()
            finally:
                if cache is not None:
                    cache.close()
                is_empty = journal.is_empty()
    finally:
        if is_empty:
            remove_journal(folder)
