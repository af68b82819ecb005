"""The record of a run's queries on an object store; the contract is that of `QueryJournal`.

One immutable object for each recorded part, in a folder for each generation: a PUT has the part
whole or not at all, and is durable when it returns. Forgetting writes one object with what the
generations have cost, and then removes their folders; until the last of these is gone, what is in
both is counted by the first only.

Two writers, when a worker is replaced whose end nobody has seen, write the same objects: a part's
name is its place, and what it says is fixed by the question. Neither undoes the other. What one
asks before it could see the other's answer is paid for twice and counted once, as in SQLite.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from craft_ray.errors import ArtifactError, RunFailedError, StorageError
from craft_ray.files.remote import RemotePath
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart, not_on_record
from craft_ray.metering.ledger import Spending

FORGOTTEN_FOLDER = "forgotten"
_PART = re.compile(r"(\d{8,})/(\w+)-(\d+)-(\d{8,})")
"""Generation, purpose, number and first context of a part."""
MAX_LISTINGS = 20
"""A writer forgets once for each checkpoint; nobody reads so slowly as to meet that so often."""


class PartGoneError(ArtifactError):
    """What was listed is gone: its writer has forgotten it, or somebody else has removed it."""


@dataclass(frozen=True)
class _Said:
    """What is kept of a part whose answer is forgotten."""

    question: bytes
    spending: Spending


class ObjectJournal:
    """One run's folder.

    It is listed when it is opened; answers are fetched when they are asked for. A search counts
    what a trial has spent while the trial is still writing: where a part is gone by the time it is
    read, its cost stands with what was forgotten, and the folder is listed again.

    Raises:
        ArtifactError: something in the folder is not of a journal.
        RunFailedError: the store does not answer.
    """

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._paths: dict[QueryId, dict[int, RemotePath]] = {}
        """Of the parts that have their answers, by their first context."""
        self._said: dict[QueryId, dict[int, _Said]] = {}
        """Of forgotten parts, and of those that this process has written or read."""
        self._while_others_forget(self._take_up)

    def __enter__(self) -> ObjectJournal:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

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
        """Durable when it returns; False if it was on record already.

        Raises:
            RunFailedError: the store does not take it.
        """
        if start in self._paths.get(query, {}) or start in self._said.get(query, {}):
            return False
        name = f"{query.generation:08d}/{query.purpose}-{query.number}-{start:08d}"
        head = {
            "stop": start + len(answer),
            "question": question.hex(),
            "spending": spending.as_dict(),
            "dtype": answer.dtype.str,
            "shape": answer.shape,
        }
        _write(self._folder / name, head, np.ascontiguousarray(answer).tobytes())
        self._paths.setdefault(query, {})[start] = self._folder / name
        self._said.setdefault(query, {})[start] = _Said(question, spending)
        return True

    def parts(self, query: QueryId, question: bytes | None) -> list[RecordedPart]:
        """Durable when it returns.

        Raises:
            ArtifactError: it is on record as another question, or an object is damaged.
            RunFailedError: the store does not answer.
        """
        parts = [self._fetch(query, start) for start in sorted(self._paths.get(query, {}))]
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
        for query in queries:
            self._fetch_what_is_unknown(query)
        self._keep_forgotten(queries)
        for query in queries:
            del self._paths[query]
        with _usable():
            for generation in sorted({query.generation for query in queries}):
                (self._folder / f"{generation:08d}").remove_all()

    def compact(self) -> None:
        """What was forgotten in many steps becomes one object."""
        with _usable():
            files = (self._folder / FORGOTTEN_FOLDER).files_below()
            if len(files) < 2:
                return
            kept = self._keep_forgotten([query for query in self._said if query not in self._paths])
            for path in files:
                if path != kept:
                    path.unlink(missing_ok=True)

    def is_empty(self) -> bool:
        return not self._paths and not self._said

    def total(self) -> Spending:
        """Reads what this process has neither written nor read."""

        def fetch() -> None:
            for query in self._paths:
                self._fetch_what_is_unknown(query)

        self._while_others_forget(fetch)
        said = (said for starts in self._said.values() for said in starts.values())
        return sum((each.spending for each in said), start=Spending())

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
        with _usable():
            found = self._folder.files_below()
        forgotten: set[tuple[QueryId, int]] = set()
        for path in found:
            if path.parent.name == FORGOTTEN_FOLDER:
                forgotten |= self._take_up_forgotten(path)
        self._paths.clear()
        for path in found:
            if path.parent.name != FORGOTTEN_FOLDER:
                query, start = _place_of(path)
                if (query, start) not in forgotten:
                    self._paths.setdefault(query, {})[start] = path

    def _fetch_what_is_unknown(self, query: QueryId) -> None:
        for start in self._paths[query].keys() - self._said.get(query, {}).keys():
            self._fetch(query, start)

    def _fetch(self, query: QueryId, start: int) -> RecordedPart:
        path = self._paths[query][start]
        head, content = _read(path)
        try:
            said = _Said(bytes.fromhex(head["question"]), Spending.from_dict(head["spending"]))
            answer = np.frombuffer(content, dtype=np.dtype(head["dtype"])).reshape(head["shape"])
            stop = int(head["stop"])
        except (ValueError, TypeError, KeyError) as error:
            raise _no_journal(path, error) from error
        if answer.ndim < 1 or len(answer) != stop - start:
            law = f"a part must have {stop} - {start} answers, but has {answer.shape}"
            raise _no_journal(path, law)
        self._said.setdefault(query, {})[start] = said
        return RecordedPart(start, stop, said.spending, answer)

    def _keep_forgotten(self, queries: Sequence[QueryId]) -> RemotePath:
        """Write what is kept of these questions."""
        rows = [
            [*astuple(query), start, said.question.hex(), said.spending.as_dict()]
            for query in queries
            for start, said in self._said[query].items()
        ]
        name = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        path = self._folder / FORGOTTEN_FOLDER / name
        _write(path, {"parts": rows}, b"")
        return path

    def _take_up_forgotten(self, path: RemotePath) -> set[tuple[QueryId, int]]:
        """The places of the parts that it names."""
        head, _ = _read(path)
        places = set()
        try:
            for generation, purpose, number, start, question, spending in head["parts"]:
                query = QueryId(int(generation), str(purpose), int(number))
                said = _Said(bytes.fromhex(question), Spending.from_dict(spending))
                self._said.setdefault(query, {})[int(start)] = said
                places.add((query, int(start)))
        except (ValueError, TypeError, KeyError) as error:
            raise _no_journal(path, error) from error
        return places


def _place_of(path: RemotePath) -> tuple[QueryId, int]:
    match = _PART.fullmatch(f"{path.parent.name}/{path.name}")
    if match is None:
        raise _no_journal(path, "its name is not that of a part")
    generation, purpose, number, start = match.groups()
    return QueryId(int(generation), purpose, int(number)), int(start)


def _write(path: RemotePath, head: dict[str, Any], content: bytes) -> None:
    """One object: a checksum of the rest, a line of JSON, bytes."""
    body = json.dumps(head).encode() + b"\n" + content
    with _usable():
        path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _read(path: RemotePath) -> tuple[dict[str, Any], bytes]:
    try:
        with _usable():
            checksum, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError as error:
        raise PartGoneError(str(_no_journal(path, "it is gone"))) from error
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise _no_journal(path, "its checksum differs")
    line, _, content = body.partition(b"\n")
    return dict(json.loads(line)), content  # whole, by its checksum


def _no_journal(path: RemotePath, problem: object) -> ArtifactError:
    return ArtifactError(f"{path}: must be of a journal of queries, but: {problem}")


@contextmanager
def _usable() -> Iterator[None]:
    """A store that does not answer ends the run, which can be continued."""
    try:
        yield
    except StorageError as error:
        raise RunFailedError(str(error)) from error
