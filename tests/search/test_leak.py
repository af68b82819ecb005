"""No choice of a search may depend on the test split: neither what it tries nor what it returns."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from craft_ray.classifiers.artifact import CARD_FILE, DESCRIPTION_FILE, RESULT_FOLDER
from craft_ray.classifiers.predictions import PREDICTIONS_FILE
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs.experiment import Experiment
from craft_ray.jobs.job import RESULT_FILE, STATES_FOLDER
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.run_report import REPORT_FILE
from craft_ray.jobs.tuned import read_selected
from craft_ray.metering.journal import JOURNAL_FILE
from craft_ray.search import run as search_run
from craft_ray.search.results import TrialResult
from craft_ray.search.study_file import STUDY_FILE
from craft_ray.search.trials_on_disk import TRIAL_FILE, trial_folder
from craft_ray.task.preparation import FewShotData
from tests.support.leaks import data_with_test_split, leaking
from tests.support.one_process_search import OneProcessSearch
from tests.support.world import run_config

SPACE = SpaceConfig.model_validate(
    {
        "name": "leak",
        "base": run_config(max_queries=24, evaluate_every_generations=1).model_dump(mode="json"),
        "variants": {
            "probes": {"method": "head", "head": {"kind": "probes", "names": 0, "contexts": 2}},
            "craft": {},
        },
        "parameters": {
            "optimizer.sigma": {
                "kind": "log_uniform",
                "low": 0.02,
                "high": 0.5,
                "when": {"method": "both"},
            }
        },
        "first_trials": [{"variant": "probes"}],
        "trials": 6,
        "sampler": {"kind": "tpe", "startup_trials": 2},
        "scheduler": {"kind": "none"},
    }
)

Choose = Callable[[Experiment, list[TrialResult]], TrialResult | None]
Traces = dict[str, Any]
OF_TEST_IMAGES = (PREDICTIONS_FILE, REPORT_FILE)
"""Files that show what was said of them, and decide nothing. Optuna's has the time in it."""
NOT_COMPARED = (JOURNAL_FILE, STUDY_FILE, *OF_TEST_IMAGES)
DESCRIBED = f"{RESULT_FOLDER}/{DESCRIPTION_FILE}"


def traces_of(search: OneProcessSearch) -> Traces:
    """All that is left of it, but for scores on test images."""
    traces: Traces = {"screen": cast(io.StringIO, search.console.file).getvalue()}
    for path in sorted(search.folder.rglob("*")):
        name = str(path.relative_to(search.folder))
        if path.name == JOURNAL_FILE:
            with sqlite3.connect(path) as database:
                traces[name] = database.execute("SELECT * FROM queries").fetchall()
            database.close()
        elif path.is_file() and not path.name.startswith(
            (JOURNAL_FILE, STUDY_FILE, *OF_TEST_IMAGES)
        ):
            traces[name] = path.read_bytes()
    summary = json.loads(traces[SUMMARY_FILE])
    reported = summary["zero_shot"].pop("test"), summary["best"].pop("test")
    described = _described(traces, reported)
    return {**traces, SUMMARY_FILE: summary, DESCRIBED: described}


def _described(traces: Traces, reported: tuple[dict[str, float], ...]) -> dict[str, Any]:
    """What the classifier's folder says, but for the test scores, which must be the summary's. Its
    files are taken out of the traces."""
    del traces[f"{RESULT_FOLDER}/{CARD_FILE}"]
    description: dict[str, Any] = json.loads(traces.pop(DESCRIBED))
    about, signature = description["about"], description.pop("values_sha256")
    assert signature
    for name, score in zip(("zero_shot_test", "test"), reported, strict=True):
        assert about.pop(name)["accuracy"] == score["accuracy"]
    del about["created"]
    return description


def search_on(data: FewShotData, folder: Path, choose: Choose | None = None) -> Traces:
    """The traces of a whole search."""
    with pytest.MonkeyPatch.context() as patch:
        search = OneProcessSearch(SPACE, folder / "search", data, patch)
        if choose is not None:
            patch.setattr(
                search_run, "best_of", lambda trials, *sizes: choose(search.experiment, trials)
            )
        search.run()
        return traces_of(search)


def best_on_test(experiment: Experiment, trials: list[TrialResult]) -> TrialResult:
    """The planted leak: the trial to return is chosen on the test split."""
    folders = [trial_folder(experiment.folder, trial.number) for trial in trials]
    scores = experiment.examiner.test([read_selected(folder).classifier for folder in folders])
    return max(zip(scores, trials, strict=True), key=lambda pair: pair[0].accuracy)[1]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Traces:
    return search_on(data_with_test_split(1), tmp_path_factory.mktemp("one"))


def differing(one: Traces, other: Traces) -> set[str]:
    """Names of the traces in which two searches differ."""
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_nothing_that_a_search_tries_or_returns_depends_on_the_test_split(
    one: Traces, tmp_path: Path
) -> None:
    assert differing(one, search_on(data_with_test_split(2), tmp_path)) == set()


def test_the_search_that_is_compared_has_something_to_choose(one: Traces) -> None:
    names = {Path(name).parts[-2] for name in one if len(Path(name).parts) > 1}
    assert {RESULT_FOLDER, *map(str, range(1, SPACE.trials + 1))} <= names
    assert any(STATES_FOLDER in name for name in one)
    assert any(name.endswith(JOURNAL_FILE) for name in one)
    assert any(name.endswith(RESULT_FILE) for name in one)
    summary = one[SUMMARY_FILE]
    accuracies = {trial["validation"]["accuracy"] for trial in summary["trials"]}
    assert len(accuracies) > 2
    assert (
        summary["best"]["validation"]["accuracy"] > summary["zero_shot"]["validation"]["accuracy"]
    )


def test_trials_that_are_validated_on_the_test_split_are_caught(tmp_path: Path) -> None:
    # On the one split the first trial is worse than the second, on the other it is better.
    searches = [search_on(leaking(data_with_test_split(n)), tmp_path / str(n)) for n in (1, 4)]
    trials = [f"trials/{number}/{RESULT_FILE}" for number in range(1, SPACE.trials + 1)]
    different = differing(*searches)
    assert set(trials) <= different
    assert f"trials/3/{TRIAL_FILE}" in different, "what is tried depends on what was found"


def test_a_choice_among_trials_on_the_test_split_is_caught(tmp_path: Path) -> None:
    searches = [search_on(data_with_test_split(n), tmp_path / str(n), best_on_test) for n in (1, 2)]
    different = differing(*searches)
    assert SUMMARY_FILE in different
    assert not any(name.startswith("trials/") for name in different)
