"""The state of a training as files: arrays in safetensors, values in JSON. No pickle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from craft_ray.classifiers.selection import Selected
from craft_ray.errors import ArtifactError
from craft_ray.files.folders import remove_folder
from craft_ray.files.remote import Place, entries
from craft_ray.files.whole_files import Arrays, read_signed_pair, write_signed_pair
from craft_ray.method.adamw import AdamW

logger = logging.getLogger(__name__)

ARRAYS_FILE = "state.safetensors"
VALUES_FILE = "state.json"
FORMAT_VERSION = 9

SELECTED_PREFIX = "selected."
"""Of the selected classifier's arrays."""
KEPT_STATES = 2
"""Of a training: the older one, should the newer be damaged."""


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


def selected_in(state: TrainerState) -> Selected:
    """What a stored training would return."""
    return Selected.restore(state.values["selected"], state.group(SELECTED_PREFIX))


def save_state(state: TrainerState, folder: Place) -> None:
    """Write both files with their checksums; a folder with values is complete."""
    values = {"format_version": FORMAT_VERSION, **state.values}
    write_signed_pair(folder / ARRAYS_FILE, state.arrays, folder / VALUES_FILE, values)


def load_state(folder: Place) -> TrainerState:
    """Read what `save_state` wrote.

    Raises:
        ArtifactError: a file is missing, broken, changed or of another format version.
    """
    arrays, values = read_signed_pair(folder / ARRAYS_FILE, folder / VALUES_FILE, FORMAT_VERSION)
    del values["format_version"]
    return TrainerState(arrays, values)


@contextmanager
def refuse_other_state() -> Iterator[None]:
    """While a state is taken up: what does not fit the run is the user's error.

    Raises:
        ArtifactError: in place of whatever a state of other settings causes.
    """
    law = "state: must be that of a run with these settings and this data, but: "
    try:
        yield
    except KeyError as error:
        raise ArtifactError(f"{law}it has no {error}") from error
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        raise ArtifactError(law + " ".join(str(error).split())) from error


def keep_state(state: TrainerState, states: Place) -> None:
    """Save it in a folder of its own below `states`, and drop all but the newest."""
    save_state(state, states / f"{state.values['generation']:08d}")
    for old in sorted(entries(states), reverse=True)[KEPT_STATES:]:
        remove_folder(old)


def load_newest_state(states: Place) -> TrainerState | None:
    """The newest whole state in `states`; None if there is none yet.

    A state without values is not there: its writer died before it was complete. If it is the first
    one, the training begins anew, and all that it asked is on record. A second one is begun only
    when the first is whole, and when it is whole itself, answers are forgotten.

    Raises:
        ArtifactError: all are damaged. Starting anew would ask what has been paid for already.
    """
    folders = sorted(entries(states), reverse=True)
    begun = [folder for folder in folders if not (folder / VALUES_FILE).exists()]
    problems = []
    for folder in folders:
        if folder in begun:
            continue
        try:
            state = load_state(folder)
        except ArtifactError as error:
            problems.append(str(error))
            continue
        if problems:
            logger.warning("continuing from %s, because %s", folder.name, "; ".join(problems))
        return state
    if len(begun) > 1:
        problems += [f"{folder / VALUES_FILE}: is missing" for folder in begun]
    if problems:
        raise ArtifactError("no checkpoint can be read: " + "; ".join(problems))
    return None


def pack_adam(optimizer: AdamW) -> Arrays:
    """Moments and steps as `<parameter index>.<name>` arrays."""
    return {
        f"{index}.{name}": value.numpy()
        for index, moments in optimizer.state().items()
        for name, value in moments.items()
    }


def unpack_adam(optimizer: AdamW, arrays: Arrays) -> None:
    """Inverse of `pack_adam`; hyperparameters stay those of `optimizer`."""
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = torch.from_numpy(np.array(array))
    optimizer.load_state(moments)
