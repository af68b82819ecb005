"""Files that are complete or absent: written beside their place, then moved into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from craft_ray.errors import ArtifactError

Arrays = dict[str, np.ndarray[Any, Any]]


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write indented JSON, complete or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _move_into_place(temporary, path)


def _move_into_place(temporary: Path, path: Path) -> None:
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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtifactError: the file is missing or is no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ArtifactError(f"{path}: must be a JSON object, but is {type(document).__name__}")
    return document


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write safetensors, complete or not at all."""
    temporary = path.with_name(path.name + ".part")
    # Not np.ascontiguousarray, which gives a scalar an axis.
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, temporary)
    _move_into_place(temporary, path)


def read_arrays(path: Path) -> Arrays:
    """Read safetensors.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
