"""The record of a run's queries on an object store; the contract is that of `QueryJournal`.

Parts are sent together, as one immutable object: a PUT has it whole or not at all, and is durable
when it returns. Until then they are in an `Outbox` on this machine, where the end of a process
takes nothing; the end of the machine takes what took less than `SENT_EVERY_S` to answer, which is
then asked for again. Parts that come less often than that are sent at once.

Forgetting writes one object with what the parts have cost, and removes the folders of which nothing
is needed any more; until the last of these is gone, what is in both is counted by the first only.

Two writers, when a worker is replaced whose end nobody has seen, send the same parts in different
objects: a part is known by its place, what it says is fixed by the question, and it is counted
once. Neither undoes the other. What one asks before it could see the other's answer is paid for
twice and counted once, as in SQLite.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.files.remote import RemotePath
from craft_ray.metering.journal_parts import (
    Packed,
    pack,
    pack_together,
    unpack_one,
    unpack_together,
)
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart, not_on_record
from craft_ray.metering.ledger import Spending
from craft_ray.metering.outbox import Outbox
from craft_ray.metering.sealed_objects import (
    PartGoneError,
    no_journal,
    read_sealed,
    usable,
    write_sealed,
)

FORGOTTEN_FOLDER = "forgotten"
SENT_EVERY_S = 60.0
SENT_BYTES = 8 * 2**20
"""Parts are sent when so many bytes wait, however soon."""
MAX_LISTINGS = 20
"""A writer forgets once for each checkpoint; nobody reads so slowly as to meet that so often."""

Place = tuple[QueryId, int]
"""Of a part: its question, and its first context."""


@dataclass(frozen=True)
class _Said:
    """What is kept of a part whose answer is forgotten."""

    question: bytes
    spending: Spending


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
        self._outbox = Outbox(str(folder))
        self._paths: dict[QueryId, dict[int, RemotePath | None]] = {}
        """Of the parts that have their answers, by their first context, the object that each was
        sent in. None: it waits."""
        self._waiting: dict[Place, Packed] = {}
        self._said: dict[QueryId, dict[int, _Said]] = {}
        """Of all parts, forgotten ones included."""
        self._contents: dict[RemotePath, list[Place]] = {}
        """Of the objects that were read or written."""
        self._last_read: tuple[RemotePath, dict[Place, Packed]] | None = None
        self._writer = uuid.uuid4().hex[:12]
        self._num_folders = self._num_sent = 0
        self._has_recorded = False
        self._sent_s = time.monotonic()
        waiting = self._outbox.all()  # first: what leaves it from now on is seen on the store
        self._while_others_forget(self._take_up)
        for name, body in waiting.items():
            part = self._unpacked(name, body)
            if part.place[1] in self._said.get(part.place[0], {}):
                self._outbox.drop([name])  # who sent it has died before it could
            else:
                self._wait(part)

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
        self._outbox.close()

    def ensure_room(self, num_bytes: int) -> None:
        """An object store has room."""

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
        self._outbox.keep(part.name, part.as_bytes())
        self._wait(part)
        self._has_recorded = True
        is_due = time.monotonic() - self._sent_s >= SENT_EVERY_S
        if is_due or sum(len(each.content) for each in self._waiting.values()) >= SENT_BYTES:
            self.flush()
        return True

    def flush(self) -> None:
        """Send all that waits, as one object; nothing is written if nothing waits.

        Raises:
            RunFailedError: the store does not take it.
        """
        if not self._waiting:
            return
        folder = self._folder / f"{self._writer}-{self._num_folders:04d}"
        path = folder / f"{self._num_sent:06d}"
        head, content = pack_together(list(self._waiting.values()))
        write_sealed(path, head, content)
        self._num_sent += 1
        self._sent_s = time.monotonic()
        self._contents[path] = list(self._waiting)
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
        queries = [
            query
            for query in self._paths
            if (before_generation is None or query.generation < before_generation)
            and query.generation not in kept
        ]
        if not queries:
            return
        self._keep_forgotten(queries)
        for query in queries:
            del self._paths[query]
        self._arrived([place for place in self._waiting if place[0] in set(queries)])
        self._remove_what_nobody_needs()
        self._num_folders += 1  # so that all of a folder is soon forgotten

    def compact(self) -> None:
        """What was forgotten in many steps becomes one object."""
        with usable():
            files = (self._folder / FORGOTTEN_FOLDER).files_below()
            if len(files) < 2:
                return
            kept = self._keep_forgotten([query for query in self._said if query not in self._paths])
            for path in files:
                if path != kept:
                    path.unlink(missing_ok=True)

    def is_empty(self) -> bool:
        return not self._said

    def total(self) -> Spending:
        said = (said for starts in self._said.values() for said in starts.values())
        return sum((each.spending for each in said), start=Spending())

    def _wait(self, part: Packed) -> None:
        """Take in a part that was not sent."""
        query, start = part.place
        self._said.setdefault(query, {})[start] = _Said(part.question, part.spending)
        self._paths.setdefault(query, {})[start] = None
        self._waiting[part.place] = part

    def _unpacked(self, name: str, body: bytes) -> Packed:
        try:
            return unpack_one(body)
        except (ValueError, TypeError, KeyError) as error:
            raise no_journal(self._folder / name, error) from error

    def _arrived(self, places: Sequence[Place]) -> None:
        self._outbox.drop([self._waiting.pop(place).name for place in places])

    def _remove_what_nobody_needs(self) -> None:
        """Folders whose parts are all forgotten."""
        needed = {
            path.parent for starts in self._paths.values() for path in starts.values() if path
        }
        unneeded = {path.parent for path in self._contents} - needed
        with usable():
            for folder in sorted(unneeded):
                folder.remove_all()
        for path in [path for path in self._contents if path.parent in unneeded]:
            del self._contents[path]

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
        """List the folder: which parts have their answers, and what was forgotten."""
        with usable():
            found = self._folder.files_below()
        forgotten: set[Place] = set()
        for path in found:
            if path.parent.name == FORGOTTEN_FOLDER:
                forgotten |= self._take_up_forgotten(path)
        self._paths = {place[0]: {} for place in self._waiting}
        for query, start in self._waiting:
            self._paths[query][start] = None
        for path in found:
            if path.parent.name != FORGOTTEN_FOLDER:
                for query, start in self._places_in(path):
                    if (query, start) not in forgotten:
                        self._paths.setdefault(query, {}).setdefault(start, path)

    def _places_in(self, path: RemotePath) -> list[Place]:
        if path not in self._contents:
            parts = self._read_together(path)
            for (query, start), part in parts.items():
                self._said.setdefault(query, {})[start] = _Said(part.question, part.spending)
            self._contents[path] = list(parts)
        return self._contents[path]

    def _read_together(self, path: RemotePath) -> dict[Place, Packed]:
        if self._last_read is None or self._last_read[0] != path:
            head, content = read_sealed(path)
            try:
                parts = unpack_together(head, content)
            except (ValueError, TypeError, KeyError) as error:
                raise no_journal(path, error) from error
            self._last_read = path, {part.place: part for part in parts}
        return self._last_read[1]

    def _part(self, query: QueryId, start: int) -> RecordedPart:
        path = self._paths[query][start]
        if path is None:
            return self._waiting[query, start].recorded()
        return self._read_together(path)[query, start].recorded()

    def _keep_forgotten(self, queries: Sequence[QueryId]) -> RemotePath:
        """Write what is kept of these questions."""
        rows = [
            [*astuple(query), start, said.question.hex(), said.spending.as_dict()]
            for query in queries
            for start, said in self._said[query].items()
        ]
        name = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        path = self._folder / FORGOTTEN_FOLDER / name
        write_sealed(path, {"parts": rows}, b"")
        return path

    def _take_up_forgotten(self, path: RemotePath) -> set[tuple[QueryId, int]]:
        """The places of the parts that it names."""
        head, _ = read_sealed(path)
        places = set()
        try:
            for generation, purpose, number, start, question, spending in head["parts"]:
                query = QueryId(int(generation), str(purpose), int(number))
                said = _Said(bytes.fromhex(question), Spending.from_dict(spending))
                self._said.setdefault(query, {})[int(start)] = said
                places.add((query, int(start)))
        except (ValueError, TypeError, KeyError) as error:
            raise no_journal(path, error) from error
        return places
