"""A search's trials as a study of Optuna, for its dashboard, its plots and other searches."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from craft_ray.config.method_names import trial_name
from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_whole
from craft_ray.search.objectives import METRIC, RESOURCE
from craft_ray.search.results import TrialResult
from craft_ray.search.sampling import directions_of, frozen_trial

STUDY_FILE = "study.log"


def write_study(space: SpaceConfig, trials: Sequence[TrialResult], folder: Place) -> None:
    """Write Optuna's journal `study.log`, whose one study has the name of the run. Trials without a
    result are failed ones there; `number`, `method` and `status` are attributes of each.

    Args:
        space: of the search.
        trials: all.
        folder: of the run.

    Raises:
        OSError, StorageError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="craft-ray-study-") as scratch:
        path = Path(scratch) / STUDY_FILE
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=folder.name,
            directions=[StudyDirection[word.upper()] for word in directions_of(space)],
        )
        study.add_trials([_as_optunas(space, trial) for trial in trials])
        write_whole(folder / STUDY_FILE, path.read_bytes())


def _as_optunas(space: SpaceConfig, trial: TrialResult) -> FrozenTrial:
    values, curve = None, {}
    if trial.objectives is not None:
        values = [trial.objectives[name] for name in space.objectives]
        if len(space.objectives) == 1:  # Optuna takes steps of one objective only
            curve = {int(report[RESOURCE]): report[METRIC] for report in trial.tuned.reports}
    state = TrialState.FAIL if values is None else TrialState.COMPLETE
    found = frozen_trial(space, trial.params, values, state, curve)
    found.user_attrs = {
        "number": trial.number,
        "method": trial_name(space, trial.params),
        "status": trial.status,
    }
    return found
