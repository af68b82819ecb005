"""Files that are complete or absent: written beside their place, then moved into it."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save

from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place, RemotePath

Arrays = dict[str, np.ndarray[Any, Any]]


def write_json(path: Place, document: dict[str, Any]) -> None:
    """Write indented JSON, complete or not at all."""
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())


def write_text(path: Place, text: str) -> None:
    """Write UTF-8, complete or not at all."""
    write_whole(path, text.encode())


def write_whole(path: Place, content: bytes) -> None:
    """Write a file on a disk or an object store, complete or not at all.

    Raises:
        OSError, StorageError: it cannot be written; what was there before stays.
    """
    if isinstance(path, RemotePath):
        path.write_bytes(content)
        return
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write what is to stand at `path`, complete or not at all: it is moved there at the
    end, and removed if the block raises."""
    # A name of its own: of two who write the same file, one must not move what the other has begun.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        move_into_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename, after what was written is on the disk: else a crash may leave an empty file."""
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Place) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtifactError: the file is missing or is no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: of deep nesting
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ArtifactError(f"{path}: must be a JSON object, but is {type(document).__name__}")
    return document


def write_arrays(path: Place, arrays: Arrays) -> str:
    """Write safetensors, complete or not at all; gives the checksum of the file."""
    content = _as_safetensors(arrays)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def _as_safetensors(arrays: Arrays) -> bytes:
    # Not np.ascontiguousarray, which gives a scalar an axis; and not written by safetensors, whose
    # error of a full disk is no OSError.
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def read_arrays(path: Place) -> Arrays:
    """Read safetensors.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    try:
        return load(path.read_bytes()) if isinstance(path, RemotePath) else load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:  # of a type that numpy does not have
        raise ArtifactError(f"{path}: cannot be read: {error}") from error


def sha256_of_file(path: Place) -> str:
    """Checksum of a file.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error


def sha256_of_values(values: dict[str, Any]) -> str:
    """Checksum of what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_signed_pair(
    arrays_path: Place, arrays: Arrays, path: Place, values: dict[str, Any]
) -> None:
    """Write arrays, then JSON with the checksums of both: a folder that has it is complete.

    A flipped bit or a line edited by hand would otherwise be a slightly different result. Over an
    earlier pair on a disk, arrays wait under a name of their own until the JSON is theirs: whoever
    is killed at any moment leaves one of the two pairs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _as_safetensors(arrays)
    digest = hashlib.sha256(content).hexdigest()
    waiting = None
    if isinstance(arrays_path, Path) and path.exists():
        waiting = _waiting(arrays_path, digest)
    write_whole(waiting or arrays_path, content)
    document = {**values, "arrays_sha256": digest}
    write_json(path, {**document, "values_sha256": sha256_of_values(document)})
    if waiting is not None:
        waiting.replace(waiting.with_name(arrays_path.name))


def _waiting(arrays_path: Path, digest: str) -> Path:
    """Where arrays of this checksum are until they are in their place."""
    return arrays_path.with_name(f"{arrays_path.stem}.{digest[:16]}{arrays_path.suffix}")


def read_signed_pair(
    arrays_path: Place, path: Place, format_version: int
) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_signed_pair` wrote, without the checksums.

    Raises:
        ArtifactError: a file is missing, broken, changed or of another format version.
    """
    values = read_json(path)
    found = values.get("format_version")
    if found != format_version or isinstance(found, bool):
        is_earlier = type(found) is int and found < format_version
        remedy = ": it is of an earlier version of craft-ray, which can read it" * is_earlier
        law = f"{path}: format_version must be {format_version}, but got {found!r}"
        raise ArtifactError(law + remedy)
    if values.pop("values_sha256", None) != sha256_of_values(values):
        raise ArtifactError(f"{path}: must be as it was written, but its checksum differs")
    digest = str(values.pop("arrays_sha256", None))
    if isinstance(arrays_path, Path) and digest.isalnum():
        waiting = _waiting(arrays_path, digest)  # its writer was killed
        arrays_path = waiting if waiting.is_file() else arrays_path
    arrays = read_arrays(arrays_path)
    if digest != sha256_of_file(arrays_path):
        raise ArtifactError(f"{arrays_path}: must be as it was written, but its checksum differs")
    return arrays, values
