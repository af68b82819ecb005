"""The state of a training as files: arrays in safetensors, values in JSON. No pickle."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from craft_ray.errors import ArtifactError
from craft_ray.files import Arrays, read_arrays, read_json, write_arrays, write_json

logger = logging.getLogger(__name__)

ARRAYS_FILE = "state.safetensors"
VALUES_FILE = "state.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrainerState:
    """Named arrays, and values that JSON can hold."""

    arrays: Arrays
    values: dict[str, Any]

    def group(self, prefix: str) -> Arrays:
        """Arrays whose name starts with `prefix`, under the rest of their name."""
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }


def save_state(state: TrainerState, folder: Path) -> None:
    """Write both files; the values go last, so that a folder with values is complete.

    Each carries a checksum: a disk's flipped bit would otherwise be a slightly different run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / ARRAYS_FILE, state.arrays)
    document = {
        "format_version": FORMAT_VERSION,
        **state.values,
        "arrays_sha256": _sha256((folder / ARRAYS_FILE).read_bytes()),
    }
    write_json(folder / VALUES_FILE, {**document, "values_sha256": _digest_of_values(document)})


def load_state(folder: Path) -> TrainerState:
    """Read what `save_state` wrote.

    Raises:
        ArtifactError: a file is missing, broken, changed or of another format version.
    """
    values_path, arrays_path = folder / VALUES_FILE, folder / ARRAYS_FILE
    values = read_json(values_path)
    if values.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(f"{values_path}: format_version must be {FORMAT_VERSION}")
    if values.pop("values_sha256", None) != _digest_of_values(values):
        raise ArtifactError(f"{values_path}: must be as it was written, but its checksum differs")
    arrays = read_arrays(arrays_path)
    if values.pop("arrays_sha256") != _sha256(arrays_path.read_bytes()):
        raise ArtifactError(f"{arrays_path}: must be as it was written, but its checksum differs")
    del values["format_version"]
    return TrainerState(arrays, values)


def load_newest_state(folder: Path) -> TrainerState:
    """The state in `folder`, or if that is damaged the newest whole one beside it.

    Raises:
        ArtifactError: none is whole. Starting anew would ask what has been paid for already.
    """
    others = sorted(folder.parent.glob(f"*/{VALUES_FILE}"), reverse=True)
    folders = [folder, *(path.parent for path in others if path.parent != folder)]
    problems = []
    for candidate in folders:
        try:
            state = load_state(candidate)
        except ArtifactError as error:
            problems.append(str(error))
            continue
        if problems:
            logger.warning("continuing from %s, because %s", candidate.name, "; ".join(problems))
        return state
    raise ArtifactError("no checkpoint can be read: " + "; ".join(problems))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_values(values: dict[str, Any]) -> str:
    return _sha256(json.dumps(values, sort_keys=True).encode())


def pack_adam(optimizer: torch.optim.Optimizer) -> Arrays:
    """Moments and steps as `<parameter index>.<name>` arrays."""
    return {
        f"{index}.{name}": value.detach().cpu().numpy().copy()
        for index, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def unpack_adam(optimizer: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Inverse of `pack_adam`; hyperparameters stay those of `optimizer`."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = torch.from_numpy(np.array(array))
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
