"""The objects of a journal in its folder on an object store: parts that were sent together, what
was forgotten of others, and the name of the journal. Knows what is there, not what waits."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from craft_ray.files.remote import RemotePath
from craft_ray.metering.journal_parts import Packed, pack_together, unpack_together
from craft_ray.metering.journal_sqlite import QueryId, RecordedPart
from craft_ray.metering.ledger import Spending
from craft_ray.metering.sealed_objects import no_journal, read_sealed, usable, write_sealed

FORGOTTEN_FOLDER = "forgotten"
IDENTITY_FOLDER = "identity"

Place = tuple[QueryId, int]
"""Of a part: its question, and its first context."""


@dataclass(frozen=True)
class Said:
    """What is kept of a part whose answer is forgotten."""

    question: bytes
    spending: Spending


@dataclass(frozen=True)
class Listing:
    """What was there at one time.

    Attributes:
        paths: of each part that has its answer, an object that it was sent in.
        said: of all parts, forgotten ones included.
    """

    paths: Mapping[Place, RemotePath]
    said: Mapping[Place, Said]


class StoredParts:
    """One journal's folder. Objects never change: each is read once, but for the answers.

    Args:
        folder: of the journal; there is none before something is put.
    """

    def __init__(self, folder: RemotePath) -> None:
        self._folder = folder
        self._writer = uuid.uuid4().hex[:12]
        self._num_folders = self._num_sent = self._num_compactions = 0
        self._sent: dict[RemotePath, dict[Place, Said]] = {}
        """Of the objects with answers that were read or written."""
        self._forgotten: dict[RemotePath, dict[Place, Said]] = {}
        """Of those without."""
        self._last_read: tuple[RemotePath, dict[Place, Packed]] | None = None

    def identities(self) -> list[str]:
        """The journal's random names, which no journal that is begun here later has: one, or of
        several writers who found none, one each; none before anything was asked.

        Raises:
            RunFailedError: the store does not answer.
        """
        with usable():
            files = (self._folder / IDENTITY_FOLDER).files_below()
        return sorted(path.name for path in files)

    def give_identity(self) -> str:
        """A new one.

        Raises:
            RunFailedError: the store does not take it.
        """
        identity = uuid.uuid4().hex
        write_sealed(self._folder / IDENTITY_FOLDER / identity, {})
        return identity

    def listed(self) -> Listing:
        """List the folder, and read what was not read yet.

        Raises:
            PartGoneError: what was listed is gone; the folder is to be listed again.
            ArtifactError: an object is not of a journal, or damaged.
            RunFailedError: the store does not answer.
        """
        with usable():
            found = self._folder.files_below()
        said: dict[Place, Said] = {}
        for path in found:
            if _is_forgotten(path):
                said |= self._read_forgotten(path)
        forgotten, paths = set(said), dict[Place, RemotePath]()
        for path in found:
            if not _is_forgotten(path) and path.parent.name != IDENTITY_FOLDER:
                for place, each in self._read_sent(path).items():
                    said.setdefault(place, each)
                    if place not in forgotten:
                        paths.setdefault(place, path)
        return Listing(paths, said)

    def part(self, path: RemotePath, place: Place) -> RecordedPart:
        """One of those that were sent in an object.

        Raises:
            PartGoneError, ArtifactError, RunFailedError: as `listed`.
        """
        return self._read_together(path)[place].recorded()

    def put(self, parts: Sequence[Packed]) -> RemotePath:
        """All of them as one object, durable when this returns.

        Raises:
            RunFailedError: the store does not take it.
        """
        folder = self._folder / f"{self._writer}-{self._num_folders:04d}"
        path = folder / f"{self._num_sent:06d}"
        write_sealed(path, *pack_together(parts))
        self._num_sent += 1
        self._sent[path] = _said_of(parts)
        return path

    def put_forgotten(self, said: Mapping[Place, Said]) -> RemotePath:
        """What is kept of parts whose answers go, as one object.

        Raises:
            RunFailedError: the store does not take it.
        """
        rows = [
            [*astuple(query), start, each.question.hex(), each.spending.as_dict()]
            for (query, start), each in said.items()
        ]
        name = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
        folder = self._folder / FORGOTTEN_FOLDER / f"{self._writer}-{self._num_compactions:04d}"
        path = folder / name
        write_sealed(path, {"parts": rows})
        self._forgotten[path] = dict(said)
        return path

    def remove_all_but(self, needed: Collection[RemotePath]) -> None:
        """Objects of which no answer is needed: of this writer, those of whole folders; of others,
        those that were read here.

        Raises:
            RunFailedError: the store does not answer.
        """
        folders = {path.parent for path in needed}
        gone = {
            path
            for path in self._sent
            if (path.parent not in folders if self._is_own(path) else path not in needed)
        }
        self._num_folders += 1  # so that all of a folder is soon forgotten
        self._remove(gone)
        for path in gone:
            del self._sent[path]

    def compact(self) -> None:
        """What was forgotten in many steps, by whomever, becomes one object.

        Raises:
            PartGoneError, ArtifactError, RunFailedError: as `listed`.
        """
        with usable():
            files = (self._folder / FORGOTTEN_FOLDER).files_below()
        if len(files) < 2:
            return
        said: dict[Place, Said] = {}
        for path in files:
            said |= self._read_forgotten(path)
        self._num_compactions += 1
        self.put_forgotten(said)
        self._remove(files)

    def _remove(self, paths: Iterable[RemotePath]) -> None:
        """Of this writer, with all that is in their folders; of others, one by one, as they may
        have put more beside them since."""
        paths = set(paths)
        own = {path.parent for path in paths if self._is_own(path)}
        with usable():
            for folder in sorted(own):
                folder.remove_all()
            for path in sorted(path for path in paths if path.parent not in own):
                path.unlink(missing_ok=True)

    def _is_own(self, path: RemotePath) -> bool:
        return path.parent.name.startswith(f"{self._writer}-")

    def _read_sent(self, path: RemotePath) -> dict[Place, Said]:
        if path not in self._sent:
            self._sent[path] = _said_of(self._read_together(path).values())
        return self._sent[path]

    def _read_together(self, path: RemotePath) -> dict[Place, Packed]:
        """Its parts with their answers; those of the object that was read last are kept."""
        if self._last_read is None or self._last_read[0] != path:
            head, content = read_sealed(path)
            try:
                parts = unpack_together(head, content)
            except (ValueError, TypeError, KeyError) as error:
                raise no_journal(path, error) from error
            self._last_read = path, {part.place: part for part in parts}
        return self._last_read[1]

    def _read_forgotten(self, path: RemotePath) -> dict[Place, Said]:
        if path not in self._forgotten:
            head, _ = read_sealed(path)
            said = {}
            try:
                for generation, purpose, number, start, question, spending in head["parts"]:
                    query = QueryId(int(generation), str(purpose), int(number))
                    each = Said(bytes.fromhex(question), Spending.from_dict(spending))
                    said[query, int(start)] = each
            except (ValueError, TypeError, KeyError) as error:
                raise no_journal(path, error) from error
            self._forgotten[path] = said
        return self._forgotten[path]


def objects_are_compact(folder: RemotePath) -> bool:
    """Whether the journal in `folder`, if there is one, is at most one object without answers,
    beside its names.

    Raises:
        RunFailedError: the store does not answer.
    """
    with usable():
        files = folder.files_below()
    records = [path for path in files if path.parent.name != IDENTITY_FOLDER]
    return len(records) <= 1 and all(_is_forgotten(path) for path in records)


def _is_forgotten(path: RemotePath) -> bool:
    return path.parent.parent.name == FORGOTTEN_FOLDER


def _said_of(parts: Collection[Packed]) -> dict[Place, Said]:
    return {part.place: Said(part.question, part.spending) for part in parts}
