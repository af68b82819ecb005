"""The record of a run's queries on an object store; the contract is that of `QueryJournal`.

Parts are sent together, as one immutable object: a PUT has it whole or not at all, and is durable
when it returns. Until then they are in an `Outbox` on this machine, where the end of a process
takes nothing; the end of the machine takes what took less than `SENT_EVERY_S` to answer, which is
then asked for again. Parts that come less often than that are sent at once, and so are large ones,
which never lie in the outbox.

Forgetting writes one object with what the parts have cost, and removes the objects of which nothing
is needed any more; until the last of these is gone, what is in both is counted by the first only.

Two writers, when a worker is replaced whose end nobody has seen, send the same parts in different
objects: a part is known by its place, what it says is fixed by the question, and it is counted
once. Neither undoes the other. What one asks before it could see the other's answer is paid for
twice and counted once, as in SQLite.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import RemotePath
from craft_ray.metering.journal_parts import Packed, pack, unpack_one
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart, not_on_record
from craft_ray.metering.ledger import Spending
from craft_ray.metering.outbox import Outbox
from craft_ray.metering.sealed_objects import PartGoneError
from craft_ray.metering.stored_parts import Place, Said, StoredParts

SENT_EVERY_S = 60.0
SENT_BYTES = 8 * 2**20
"""Parts are sent when so many bytes wait, however soon."""
MAX_LISTINGS = 20
"""A writer forgets once for each checkpoint; nobody reads so slowly as to meet that so often."""


class ObjectJournal:
    """One run's folder.

    It is read when it is opened: what its parts say is kept, and of their answers those that were
    sent together with the one that was asked for last. A search counts what a trial has spent while
    the trial is still writing: where something is gone by the time it is read, its cost stands with
    what was forgotten, and the folder is listed again.

    Raises:
        ArtifactError: something in the folder is not of a journal.
        RunFailedError: the store does not answer.
    """

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._stored = StoredParts(folder)
        self._outboxes = [Outbox(identity) for identity in self._stored.identities()]
        """The first is this writer's; the others are of those who began at the same time."""
        self._paths: dict[QueryId, dict[int, RemotePath | None]] = {}
        """Of the parts that have their answers, by their first context, the object that each was
        sent in. None: it waits."""
        self._waiting: dict[Place, Packed] = {}
        self._said: dict[QueryId, dict[int, Said]] = {}
        """Of all parts, forgotten ones included."""
        self._has_recorded = False
        self._sent_s = time.monotonic()
        # Before the folder is read: what leaves the outbox from now on is seen on the store.
        waiting = [(outbox, outbox.all()) for outbox in self._outboxes]
        self._while_others_forget(self._take_up)
        for outbox, bodies in waiting:
            for name, body in bodies.items():
                self._take_up_waiting(outbox, name, body)

    def __enter__(self) -> ObjectJournal:
        return self

    def __exit__(self, *error: object) -> None:
        """What waits is sent, by whoever has recorded something; where an error ends the work and
        the store is away as well, it stays in the outbox.

        Raises:
            RunFailedError: the store does not take it.
        """
        if self._has_recorded:
            if error[0] is None:
                self.flush()
            else:
                with suppress(RunFailedError):
                    self.flush()
        for outbox in self._outboxes:
            outbox.close()

    def ensure_room(self, num_bytes: int) -> None:
        """An object store has room for an answer of so many bytes; the disk of this machine must
        have it for what waits there, which is less than `SENT_BYTES` before the part that makes it
        more, and which is smaller itself.

        Raises:
            RunFailedError: the disk is full, or the store takes nothing.
        """
        self._to_send().ensure_room(2 * SENT_BYTES)

    def record(
        self,
        query: QueryId,
        question: bytes,
        start: int,
        spending: Spending,
        answer: np.ndarray[Any, Any],
    ) -> bool:
        """Durable against the end of this process when it returns, and against that of the machine
        when it was sent; False if it was on record already.

        Raises:
            RunFailedError: the disk or the store does not take it.
        """
        if start in self._said.get(query, {}):
            return False
        part = pack(query, start, question, spending, answer)
        is_large = len(part.content) >= SENT_BYTES
        if not is_large:
            self._to_send().keep(part.name, part.as_bytes())
        self._wait(part)
        self._has_recorded = True
        num_bytes = sum(len(each.content) for each in self._waiting.values())
        if time.monotonic() - self._sent_s < SENT_EVERY_S and num_bytes < SENT_BYTES:
            return True
        try:
            self.flush()
        except RunFailedError:
            if is_large:  # which has been paid for, and fits onto the disk perhaps
                with suppress(RunFailedError):
                    self._to_send().keep(part.name, part.as_bytes())
            raise
        return True

    def flush(self) -> None:
        """Send all that waits, as one object; nothing is written if nothing waits.

        Raises:
            RunFailedError: the store does not take it.
        """
        if not self._waiting:
            return
        path = self._stored.put(list(self._waiting.values()))
        self._sent_s = time.monotonic()
        for query, start in self._waiting:
            self._paths[query][start] = path
        self._arrived(list(self._waiting))

    def parts(self, query: QueryId, question: bytes | None) -> list[RecordedPart]:
        """In order.

        Raises:
            ArtifactError: it is on record as another question, or an object is damaged.
            RunFailedError: the store does not answer.
        """
        parts: list[RecordedPart] = []

        def read() -> None:
            starts = sorted(self._paths.get(query, {}))
            parts[:] = [self._part(query, start) for start in starts]

        self._while_others_forget(read)
        known = {said.question for said in self._said.get(query, {}).values()}
        if question is not None and known - {question}:
            raise ArtifactError(f"{self._folder}: {not_on_record(query)}")
        return parts

    def forget_answers(
        self, before_generation: int | None = None, kept: Collection[int] = ()
    ) -> None:
        queries = {
            query
            for query in self._paths
            if (before_generation is None or query.generation < before_generation)
            and query.generation not in kept
        }
        if queries:
            self._stored.put_forgotten(
                {
                    (query, start): said
                    for query in self._paths
                    if query in queries
                    for start, said in self._said[query].items()
                }
            )
        for query in queries:
            del self._paths[query]
        self._arrived([place for place in self._waiting if place[0] in queries])
        # Also what somebody has forgotten who could not remove it any more.
        self._stored.remove_all_but(
            {path for starts in self._paths.values() for path in starts.values() if path}
        )

    def compact(self) -> None:
        """What was forgotten in many steps becomes one object."""
        self._while_others_forget(self._stored.compact)

    def is_empty(self) -> bool:
        return not self._said

    def total(self) -> Spending:
        said = (said for starts in self._said.values() for said in starts.values())
        return sum((each.spending for each in said), start=Spending())

    def _to_send(self) -> Outbox:
        """Of this journal, by its own name: what another one that was here has left in an outbox is
        not taken for an answer to this one's questions."""
        if not self._outboxes:
            self._outboxes.append(Outbox(self._stored.give_identity()))
        return self._outboxes[0]

    def _wait(self, part: Packed) -> None:
        """Take in a part that was not sent."""
        query, start = part.place
        self._said.setdefault(query, {})[start] = Said(part.question, part.spending)
        self._paths.setdefault(query, {})[start] = None
        self._waiting[part.place] = part

    def _take_up_waiting(self, outbox: Outbox, name: str, body: bytes) -> None:
        """What an earlier process has left in the outbox, unless it has sent it and died before it
        could drop it."""
        try:
            part = unpack_one(body)
        except (ValueError, TypeError, KeyError) as error:
            return outbox.discard(name, error)
        if part.place[1] in self._said.get(part.place[0], {}):
            return outbox.drop([name])
        self._wait(part)

    def _arrived(self, places: Sequence[Place]) -> None:
        names = [self._waiting.pop(place).name for place in places]
        for outbox in self._outboxes:
            outbox.drop(names)

    def _while_others_forget(self, read: Callable[[], None]) -> None:
        """Read, and where something is gone meanwhile, look again at what there is and read on."""
        for _ in range(MAX_LISTINGS - 1):
            try:
                return read()
            except PartGoneError:
                with suppress(PartGoneError):
                    self._take_up()
        return read()

    def _take_up(self) -> None:
        """Which parts have their answers, and what was forgotten; as it was if not all of it can be
        read."""
        listing = self._stored.listed()
        paths: dict[QueryId, dict[int, RemotePath | None]] = {}
        for query, start in self._waiting:
            paths.setdefault(query, {})[start] = None
        for (query, start), path in listing.paths.items():
            paths.setdefault(query, {}).setdefault(start, path)
        for (query, start), said in listing.said.items():
            self._said.setdefault(query, {})[start] = said
        self._paths = paths

    def _part(self, query: QueryId, start: int) -> RecordedPart:
        path = self._paths[query][start]
        if path is None:
            return self._waiting[query, start].recorded()
        return self._stored.part(path, (query, start))


def remove_objects(folder: RemotePath) -> None:
    """The record in `folder`, if there is one, and what waits to be sent there from this machine.

    Raises:
        RunFailedError, StorageError: the store does not answer.
    """
    identities = StoredParts(folder).identities()
    remove_folder(folder)
    for identity in identities:
        Outbox(identity).remove()
