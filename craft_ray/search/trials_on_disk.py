"""The trials of a search as they lie on disk: what each tries, and what came of it.

A resumed search is a new one that begins with the trials that are here. Nothing else is kept of a
search, and nothing of it is a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.jobs.job import STATES_FOLDER, read_result

TRIALS_FOLDER = "trials"
TRIAL_FILE = "trial.json"

Params = Mapping[str, Any]


def trial_folder(folder: Place, number: int) -> Place:
    """Of trial `number` of the search in `folder`."""
    return folder / TRIALS_FOLDER / str(number)


def write_trial(folder: Place, number: int, params: Params) -> None:
    """Say what a trial tries, before it is started; one that is known is left as it is."""
    path = trial_folder(folder, number) / TRIAL_FILE
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"params": dict(params)})


def read_trials(folder: Place) -> list[Params]:
    """What the trials of the search in `folder` try; trial 1 is the first.

    Raises:
        ArtifactError: a file is damaged.
    """
    found: list[Params] = []
    while (path := trial_folder(folder, len(found) + 1) / TRIAL_FILE).exists():
        params = read_json(path).get("params")
        if not isinstance(params, dict):
            raise ArtifactError(f"{path}: must have params, but has none")
        found.append(params)
    return found


def has_ended(folder: Place, number: int) -> bool:
    """Whether a trial came to an end of its own, or was stopped by the scheduler."""
    return read_result(trial_folder(folder, number)) is not None


def check_states(folder: Place, number: int) -> None:
    """That what the first `number` trials have come to can be read: the best of all is returned in
    the end, when others have been paid for.

    Raises:
        ArtifactError: a state is damaged, or of an earlier version.
    """
    from craft_ray.tuners.state import load_newest_state  # torch

    for each in range(1, number + 1):
        load_newest_state(trial_folder(folder, each) / STATES_FOLDER)
