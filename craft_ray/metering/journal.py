"""Which record of queries a run has: SQLite on a disk, objects on an object store."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol, Self

import numpy as np

from craft_ray.files.remote import Place, RemotePath
from craft_ray.metering.journal_objects import ObjectJournal, remove_objects
from craft_ray.metering.journal_sqlite import QueryId, QueryJournal, RecordedPart
from craft_ray.metering.ledger import Spending
from craft_ray.metering.stored_parts import objects_are_compact

JOURNAL_FILE = "queries.db"
JOURNAL_FOLDER = "queries"


class Journal(Protocol):
    """The durable record of one run's queries. `QueryJournal` says what each method promises."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def ensure_room(self, num_bytes: int) -> None:
        """Before a question whose answer has so many bytes: what cannot be kept must not be paid
        for."""
        ...

    def record(
        self,
        query: QueryId,
        question: bytes,
        start: int,
        spending: Spending,
        answer: np.ndarray[Any, Any],
    ) -> bool:
        """Keep a part of an answer; on record when it returns. False if it was so already."""
        ...

    def flush(self) -> None:
        """What was recorded is durable against the end of this machine, too, when it returns: to
        be called before anything is stored elsewhere that counts on it."""
        ...

    def parts(self, query: QueryId, question: bytes | None) -> list[RecordedPart]:
        """What is on record of a question, in order. None: of whichever has this place."""
        ...

    def forget_answers(
        self, before_generation: int | None = None, kept: Collection[int] = ()
    ) -> None:
        """Drop the answers of generations that no checkpoint needs any more; what they cost stays
        on record. None: of all generations. Those of the generations `kept` stay."""
        ...

    def compact(self) -> None:
        """Give back the room of forgotten answers."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing is on record."""
        ...

    def total(self) -> Spending:
        """What all queries on record have cost."""
        ...


def open_journal(folder: Place) -> Journal:
    """The record in `folder`; made if it does not exist.

    Raises:
        ArtifactError: what is there is no journal.
        RunFailedError: the disk is full, or the store does not answer.
    """
    if isinstance(folder, RemotePath):
        return ObjectJournal(folder / JOURNAL_FOLDER)
    return QueryJournal(folder / JOURNAL_FILE)


def spent_on_record(folder: Place) -> Spending:
    """What the run in `folder` has paid for, whatever became of it; nothing if it never asked.

    Raises:
        ArtifactError: what is there is no journal, or it is damaged.
        RunFailedError: the store does not answer.
    """
    if not isinstance(folder, RemotePath) and not (folder / JOURNAL_FILE).exists():
        return Spending()
    with open_journal(folder) as journal:
        return journal.total()


def is_compact(folder: Place) -> bool:
    """Whether the record in `folder`, if there is one, has no answer, and no room of forgotten ones
    to give back. Of an object store it takes one listing.

    Raises:
        ArtifactError: what is there is no journal, or it is damaged.
        RunFailedError: the store does not answer.
    """
    if isinstance(folder, RemotePath):
        return objects_are_compact(folder / JOURNAL_FOLDER)
    if not (folder / JOURNAL_FILE).exists():
        return True
    with QueryJournal(folder / JOURNAL_FILE) as journal:
        return journal.is_compact()


def remove_journal(folder: Place) -> None:
    """The record in `folder`, if there is one."""
    if isinstance(folder, RemotePath):
        remove_objects(folder / JOURNAL_FOLDER)
    else:
        # SQLite's own record of a change that was cut off must not be applied to a new file.
        for suffix in ("-journal", ""):
            (folder / (JOURNAL_FILE + suffix)).unlink(missing_ok=True)
