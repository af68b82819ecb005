"""The state of a training as files: arrays in safetensors, values in JSON. No pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from craft_ray.errors import ArtifactError
from craft_ray.files import Arrays, read_arrays, read_json, write_arrays, write_json

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
    """Write both files; the values go last, so that a folder with values is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / ARRAYS_FILE, state.arrays)
    write_json(folder / VALUES_FILE, {"format_version": FORMAT_VERSION, **state.values})


def load_state(folder: Path) -> TrainerState:
    """Read what `save_state` wrote.

    Raises:
        ArtifactError: a file is missing, broken or of another format version.
    """
    values = read_json(folder / VALUES_FILE)
    if values.pop("format_version", None) != FORMAT_VERSION:
        raise ArtifactError(f"{folder / VALUES_FILE}: format_version must be {FORMAT_VERSION}")
    return TrainerState(read_arrays(folder / ARRAYS_FILE), values)


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
