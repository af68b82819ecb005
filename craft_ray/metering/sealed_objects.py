"""Objects of a journal on an object store, each a sealed record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from craft_ray.errors import ArtifactError, RunFailedError, StorageError
from craft_ray.files.remote import RemotePath
from craft_ray.metering.sealed import seal, unseal


class PartGoneError(ArtifactError):
    """What was listed is gone: its writer has forgotten it, or somebody else has removed it."""


def write_sealed(path: RemotePath, head: dict[str, Any], content: bytes = b"") -> None:
    """One object.

    Raises:
        RunFailedError: the store does not take it.
    """
    sealed = seal(head, content)
    with usable():
        path.write_bytes(sealed)


def read_sealed(path: RemotePath) -> tuple[dict[str, Any], bytes]:
    """What `write_sealed` was given.

    Raises:
        PartGoneError: it is gone.
        ArtifactError: it is not whole.
        RunFailedError: the store does not answer.
    """
    try:
        with usable():
            sealed = path.read_bytes()
    except FileNotFoundError as error:
        raise PartGoneError(str(no_journal(path, "it is gone"))) from error
    try:
        return unseal(sealed)
    except ValueError as error:
        raise no_journal(path, error) from error


def no_journal(path: RemotePath, problem: object) -> ArtifactError:
    return ArtifactError(f"{path}: must be of a journal of queries, but: {problem}")


@contextmanager
def usable() -> Iterator[None]:
    """A store that does not answer ends the run, which can be continued."""
    try:
        yield
    except StorageError as error:
        raise RunFailedError(str(error)) from error
