"""Trials of earlier searches, for a sampler to start from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from craft_ray.config.distributions import Scalar
from craft_ray.config.sampling import EarlierSearch, EarlierStudy
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError, last_words
from craft_ray.files.remote import locate
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.search.sampling import directions_of, frozen_trial

SQLITE_HEADER = b"SQLite format 3\x00"
SQLITE_URL = "sqlite:///"

Point = tuple[Mapping[str, Scalar], list[float]]
"""Parameters, and the values of the objectives."""


def earlier_trials(space: SpaceConfig) -> list[FrozenTrial]:
    """What `space.warm_start` names, as far as it lies in the ranges of `space`.

    Raises:
        ConfigError: one cannot be read, has other objectives, or nothing that this space knows.
    """
    found = []
    for index, source in enumerate(space.warm_start):
        try:
            points = (
                _of_search(source, space)
                if isinstance(source, EarlierSearch)
                else _of_study(source, space)
            )
            trials = [trial for point in points if (trial := _as_trial(point, space)) is not None]
            if not trials:
                raise ValueError("must have a trial with these parameters within their ranges")
        except (ValueError, OSError) as error:
            raise ConfigError(space.name, [f"warm_start.{index}: {error}"]) from error
        found += trials
    return found


def _of_search(source: EarlierSearch, space: SpaceConfig) -> Iterable[Point]:
    document = read_json(locate(source.path) / SUMMARY_FILE)
    try:
        finished = [trial for trial in document["trials"] if trial["status"] == "finished"]
        return [
            (trial["params"], [float(trial["objectives"][name]) for name in space.objectives])
            for trial in finished
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{source.path}: must be a search's folder, but: {error!r}") from error


def _of_study(source: EarlierStudy, space: SpaceConfig) -> Iterable[Point]:
    # Optuna's storages raise their own errors, the database's and the file's.
    try:
        study = optuna.load_study(study_name=source.study, storage=_storage(source.storage))
        directions = [direction.name.lower() for direction in study.directions]
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    except Exception as error:
        raise ValueError(
            f"{source.storage}: must hold the study {source.study}, but: {last_words(error)}"
        ) from error
    if directions != directions_of(space):
        raise ValueError(
            f"{source.study}: must {' and '.join(directions_of(space))}, as "
            f"{', '.join(space.objectives)} do, but its directions are {', '.join(directions)}"
        )
    return [(trial.params, list(trial.values)) for trial in trials]


def _storage(text: str) -> BaseStorage:
    if "://" in text and not text.startswith(SQLITE_URL):
        return RDBStorage(text, skip_table_creation=True)
    path = Path(text.removeprefix(SQLITE_URL))
    with path.open("rb") as stream:
        is_sqlite = stream.read(len(SQLITE_HEADER)) == SQLITE_HEADER
    if is_sqlite:
        return RDBStorage(f"{SQLITE_URL}{path}", skip_table_creation=True)
    return JournalStorage(JournalFileBackend(str(path)))


def _as_trial(point: Point, space: SpaceConfig) -> FrozenTrial | None:
    """None where it has other parameters, or values that this search would not try."""
    params, values = point
    if any(math.isnan(value) for value in values) or not space.is_valid(params):
        return None
    return frozen_trial(space, params, values, is_earlier=True)
