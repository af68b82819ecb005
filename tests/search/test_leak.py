"""No choice of a search may depend on the test split: neither what it tries nor what it returns."""

from __future__ import annotations

import io
import itertools
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.tune.result import TRAINING_ITERATION
from rich.console import Console

from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs import experiment as experiment_module
from craft_ray.jobs import fine_tuning, tuning
from craft_ray.jobs.experiment import RESULT_FOLDER, Experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import RESULT_FILE, STATES_FOLDER
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.tuning import read_selected
from craft_ray.jobs.worker import run
from craft_ray.metering.journal import JOURNAL_FILE
from craft_ray.pool.address import PoolAddress
from craft_ray.search import run as search_run
from craft_ray.search.optuna_search import make_search
from craft_ray.search.results import TrialResult, read_results
from craft_ray.search.trials_on_disk import TRIAL_FILE, trial_folder
from craft_ray.task.preparation import FewShotData, prepare
from craft_ray.tracking.base import NullTracker
from tests.support.fake_pool import FakePool
from tests.support.leaks import data_with_test_split, leaking
from tests.support.probing import fit_quickly
from tests.support.reporters import SilentReporter
from tests.support.world import metered, run_config

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


class Clock:
    """In place of the module `time`: the same in every search."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def monotonic(self) -> float:
        return float(next(self._ticks))

    def time_ns(self) -> int:
        return next(self._ticks)


class Search:
    """A search in one process: what Ray carries from one part to another is handed over."""

    def __init__(self, folder: Path, data: FewShotData, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.pool = FakePool()
        self.console = Console(width=80, file=io.StringIO())
        clock = Clock()
        patch.setattr(tuning, "PoolOracle", lambda *words: self.pool)
        patch.setattr(fine_tuning, "ray", SimpleNamespace(get=lambda reference: reference))
        for module in (tuning, experiment_module):
            patch.setattr(module, "time", clock)
        driver = metered(self.pool)
        examiner = Examiner(driver, prepare(SPACE.base, data, driver), data)
        prepared, zero_shot = examiner.validate_zero_shot()
        self.experiment = Experiment(
            config=SPACE.base,
            data=data,
            folder=folder,
            console=self.console,
            tracker=NullTracker(),
            slots=cast(Any, None),
            pool=PoolAddress("", ""),
            keeper=cast(Any, SimpleNamespace(stats=lambda timeout_s: {})),
            prepared=prepared,
            zero_shot=zero_shot,
            examiner=examiner,
            started_s=clock.monotonic(),
        )

    def run(self) -> None:
        """All trials, one after the other, and the end."""
        search = make_search(SPACE, self.folder)
        ended: dict[int, str] = {}
        for number in range(1, SPACE.trials + 1):
            params = search.suggest(str(number))
            place = trial_folder(self.folder, number)
            job = FineTuning(
                f"{number}",
                SPACE.resolve(cast(Any, params)),
                self.experiment.prepared,
                self.experiment.pool,
                place,
            )
            reporter = SilentReporter()
            ended[number] = run(job, reporter, lambda: True).outcome
            for step, report in sorted(reporter.reports.items()):
                search.on_trial_result(str(number), {**report, TRAINING_ITERATION: step + 1})
            search.on_trial_complete(str(number), report)
        assert not self.pool.passing, "test images wait until the choice is made"
        search_run._conclude(SPACE, read_results(self.folder, ended, {}), self.experiment, "search")

    def traces(self) -> Traces:
        """All that is left of it, but for scores on test images."""
        traces: Traces = {"screen": cast(io.StringIO, self.console.file).getvalue()}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.name == JOURNAL_FILE:
                with sqlite3.connect(path) as database:
                    traces[name] = database.execute("SELECT * FROM queries").fetchall()
                database.close()
            elif path.is_file() and not path.name.startswith(JOURNAL_FILE):
                traces[name] = path.read_bytes()
        summary = json.loads(traces[SUMMARY_FILE])
        del summary["zero_shot"]["test"], summary["best"]["test"]
        return {**traces, SUMMARY_FILE: summary}


def search_on(data: FewShotData, folder: Path, choose: Choose | None = None) -> Traces:
    """The traces of a whole search."""
    with pytest.MonkeyPatch.context() as patch:
        fit_quickly(patch)
        search = Search(folder / "search", data, patch)
        if choose is not None:
            patch.setattr(
                search_run, "best_of", lambda trials, *sizes: choose(search.experiment, trials)
            )
        search.run()
        return search.traces()


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
