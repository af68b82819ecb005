"""A search as a study of Optuna."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from craft_ray.classifiers.score import Score
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.search.results import TrialResult
from craft_ray.search.study_file import STUDY_FILE, write_study
from craft_ray.search.warm_start import earlier_trials
from tests.support.tuned import tuned

SPACE = load_space_config(SPACES / "quickstart.yaml")


def trials() -> list[TrialResult]:
    """One that has a result, and one that has none."""
    probes, craft = SPACE.first_trials
    good = TrialResult(1, "finished", probes, tuned(Score(0.7, 1.0, 0.1), queries=1))
    bad = replace(good, number=2, params=craft, status="failed", tuned=tuned(None, queries=40))
    return [good, bad]


def load(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))


def test_optuna_reads_what_the_trials_tried_and_found(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write_study(SPACE, trials(), folder)
    study = load(folder / STUDY_FILE, "mine")
    assert study.direction.name == "MAXIMIZE"
    assert study.best_value == 0.7
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert study.trials[1].params == dict(SPACE.first_trials[1])
    assert study.trials[0].user_attrs == {"number": 1, "method": "probes", "status": "finished"}
    write_study(SPACE, trials(), folder)  # of a resumed search
    assert len(load(folder / STUDY_FILE, "mine").trials) == 2
    assert [path.name for path in folder.iterdir()] == [STUDY_FILE]


def test_another_search_starts_from_it(tmp_path: Path) -> None:
    write_study(SPACE, trials(), tmp_path)
    source = {"kind": "study", "storage": str(tmp_path / STUDY_FILE), "study": tmp_path.name}
    words = [f"warm_start=[{source}]"]
    (earlier,) = earlier_trials(load_space_config(SPACES / "quickstart.yaml", words))
    assert earlier.values == [0.7]
