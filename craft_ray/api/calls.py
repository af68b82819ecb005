"""The commands `tune` and `train`, called from Python."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from craft_ray.api.results import TrainResult, Trial, TuneResult
from craft_ray.config.given import Changes, GivenRun, GivenSpace, given_run, given_space
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.environment import set_environment
from craft_ray.errors import RunFailedError
from craft_ray.metering.affordable import check_run_affordable
from craft_ray.oracle.usable import check_usable
from craft_ray.search.affordable import check_first_trial_is_affordable
from craft_ray.search.answerable import check_answerable
from craft_ray.task.preparation import FewShotData, load_data


def tune(
    config: GivenSpace = None,
    settings: Changes = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> TuneResult:
    """Search the hyperparameters of a fine-tuning, as `craft-ray tune` does.

    Args:
        config: a search space: the path of a YAML file, a mapping of what such a file holds, or a
            `SpaceConfig`. None: the default space.
        settings: `section.key` -> value, which come after it: `{"trials": 4, "data.shots": 8}`.
        resume: continue a run that was cut short: the one of `settings["name"]`, or the newest.
        progress: print as the command does.

    Raises:
        UserError: names the setting, file or image, the law and the value; nothing was started.
        RunFailedError: no trial has come to a result.
        RunInterruptedError: Ctrl-C; `resume=True` continues.
    """
    set_environment()
    space = given_space(config, settings)
    check_answerable(space)
    data = _data_of(space.base)
    check_first_trial_is_affordable(space, data.size)
    # Here: Ray takes a second, which a mistake need not wait for.
    from craft_ray.jobs.session import console_for, open_session
    from craft_ray.search.run import run_search

    stored = space.model_dump(mode="json", exclude={"base": {"name"}})
    with open_session(space.base, space.name, stored, SpaceConfig, resume=resume) as folder:
        summary = run_search(space, data, folder, console_for(progress))
    trials = tuple(Trial.of(entry) for entry in summary["trials"])
    if summary["best"] is None:
        reasons = [trial.error for trial in trials if trial.error]
        why = reasons[0] if reasons else "none was validated"
        raise RunFailedError(f"{folder}: no trial has come to a result: {why}")
    best = next(trial for trial in trials if trial.number == summary["best"]["number"])
    return TuneResult.of(folder, summary, trials=trials, best=best)


def train(
    config: GivenRun = None,
    settings: Changes = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> TrainResult:
    """One fine-tuning without a search, as `craft-ray train` does it.

    Args:
        config: the path of a YAML file of a run's settings, a mapping of what such a file holds, or
            a `RunConfig`. None: probes, the default.
        settings: `section.key` -> value, which come after it: `{"data.shots": 8}`.
        resume: continue a run that was cut short: the one of `settings["name"]`, or the newest.
        progress: print as the command does.

    Raises:
        UserError: names the setting, file or image, the law and the value; nothing was started.
        RunFailedError: the worker has failed; `resume=True` continues.
        KeyboardInterrupt: Ctrl-C; `resume=True` continues.
    """
    set_environment()
    run = given_run(config, settings)
    check_usable(run)
    data = _data_of(run)
    check_run_affordable(run, data.size)
    from craft_ray.jobs.session import console_for, open_session
    from craft_ray.jobs.single_run import run_training

    stored = run.model_dump(mode="json", exclude={"name"})
    stem = Path(config).stem if isinstance(config, str | os.PathLike) else "train"
    with open_session(run, stem, stored, RunConfig, resume=resume) as folder:
        summary = run_training(run, data, folder, console_for(progress))
    return TrainResult.of(folder, summary)


def _data_of(config: RunConfig) -> FewShotData:
    """Images that a run looks at. Warns of what a user should know of how files were read.

    Raises:
        DataError: see `load_data`.
    """
    data = load_data(config)
    for note in data.dataset.notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    return data
