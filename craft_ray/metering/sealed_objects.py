"""Objects of a journal on an object store: each has a checksum of the rest, a line of JSON, and
bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from craft_ray.errors import ArtifactError, RunFailedError, StorageError
from craft_ray.files.remote import RemotePath


class PartGoneError(ArtifactError):
    """What was listed is gone: its writer has forgotten it, or somebody else has removed it."""


def write_sealed(path: RemotePath, head: dict[str, Any], content: bytes) -> None:
    """One object: a checksum of the rest, a line of JSON, bytes."""
    body = json.dumps(head).encode() + b"\n" + content
    with usable():
        path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_sealed(path: RemotePath) -> tuple[dict[str, Any], bytes]:
    try:
        with usable():
            checksum, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError as error:
        raise PartGoneError(str(no_journal(path, "it is gone"))) from error
    if checksum != hashlib.sha256(body).hexdigest().encode():
        raise no_journal(path, "its checksum differs")
    line, _, content = body.partition(b"\n")
    return dict(json.loads(line)), content  # whole, by its checksum


def no_journal(path: RemotePath, problem: object) -> ArtifactError:
    return ArtifactError(f"{path}: must be of a journal of queries, but: {problem}")


@contextmanager
def usable() -> Iterator[None]:
    """A store that does not answer ends the run, which can be continued."""
    try:
        yield
    except StorageError as error:
        raise RunFailedError(str(error)) from error
