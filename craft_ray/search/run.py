"""A whole search: set up, tune, examine the best trial, write what was found."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray.tune
from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunInterruptedError
from craft_ray.files import write_json
from craft_ray.pool.lifecycle import decide_size
from craft_ray.ray_session import ray_session
from craft_ray.run_folder import SUMMARY_FILE
from craft_ray.search.monitor import SearchMonitor
from craft_ray.search.optuna_search import make_scheduler, make_search
from craft_ray.search.resources import concurrent_trials
from craft_ray.search.results import TrialResult, best_of, print_table, read_results
from craft_ray.search.trial import SearchJob, run_trial
from craft_ray.tracking import Tracker, make_tracker
from craft_ray.training.classifier import Score
from craft_ray.training.experiment import (
    Examiner,
    Experiment,
    artifact_of,
    data_summary,
    open_experiment,
    versions,
)
from craft_ray.training.ledger import Spending
from craft_ray.training.loop import Selected
from craft_ray.training.preparation import FewShotData
from craft_ray.training.state import load_state

TUNE_FOLDER = "tune"
TRIALS_FOLDER = "trials"
BEST_FOLDER = "best"


def run_search(
    space: SpaceConfig, data: FewShotData, folder: Path, console: Console
) -> dict[str, Any]:
    """Run or continue the search of `folder`; returns its summary.

    Raises:
        UserError: tracking or the cluster does not answer, the model cannot be loaded, or not
            even one trial fits into the resources.
        RunInterruptedError: the user stopped it; `--resume` continues.
    """
    started = time.monotonic()
    tracker = make_tracker(space.base.mlflow, folder.parent)
    try:
        with ray_session(space.base.ray) as session:
            size = decide_size(space.base.pool, session.resources)
            concurrency = concurrent_trials(
                space.base, space.max_concurrent_trials, size, session.resources["CPU"]
            )
            _say(
                console,
                f"Starting {size.replicas} oracle replica(s) of {space.base.oracle.model} on "
                f"{size.device}, {concurrency} trial(s) at a time ...",
            )
            with open_experiment(space.base, data, size, folder.name) as experiment:
                summary = _search(space, data, folder, console, tracker, experiment, concurrency)
        summary["seconds"] = round(time.monotonic() - started, 3)
        write_json(folder / SUMMARY_FILE, summary)
        return summary
    finally:
        tracker.shutdown()


def _search(
    space: SpaceConfig,
    data: FewShotData,
    folder: Path,
    console: Console,
    tracker: Tracker,
    experiment: Experiment,
    concurrency: int,
) -> dict[str, Any]:
    examiner = Examiner(experiment, data)
    zero_shot = examiner.validate(examiner.zero_shot)
    _say(console, f"Zero-shot: {zero_shot.accuracy:.1%} on validation. {space.trials} trials:")
    monitor = SearchMonitor(console, tracker, folder.name, space.base.max_queries)
    settings = {"trials": space.trials, **flatten(space.base.model_dump(mode="json"))}
    tracker.open(monitor.parent_key, folder.name, settings)
    job = SearchJob(space, experiment.prepared, experiment.pool, folder / TRIALS_FOLDER)
    with monitor:
        grid = _tuner(space, job, folder, concurrency, monitor).fit()
    if monitor.num_ended < space.trials:
        tracker.close(monitor.parent_key, "KILLED")
        raise RunInterruptedError(f"{monitor.num_ended} of {space.trials} trials have ended")
    results = read_results(grid)
    best = best_of(results)
    print_table(console, zero_shot, results, best)
    zero_shot_test = examiner.test(examiner.zero_shot)
    summary: dict[str, Any] = {
        "name": folder.name,
        "zero_shot": {"validation": asdict(zero_shot), "test": asdict(zero_shot_test)},
        "trials": [result.as_dict() for result in results],
        "best": None,
    }
    if best is not None and best.checkpoint is not None:
        test = _deliver(space, data, folder, examiner, experiment, best)
        summary["best"] = {**best.as_dict(), "test": asdict(test)}
        tracker.log_folder(monitor.parent_key, folder / BEST_FOLDER)
        tracker.log(
            monitor.parent_key,
            [
                {
                    "generation": 0,
                    "zero_shot_test_accuracy": zero_shot_test.accuracy,
                    "best_test_accuracy": test.accuracy,
                }
            ],
        )
    tracker.close(monitor.parent_key, "FINISHED")
    summary["ledger"] = _total(results, examiner.spent).as_dict()
    summary["data"] = data_summary(data)
    summary["oracle_id"] = experiment.prepared.oracle_id
    summary["versions"] = versions()
    summary["settings"] = space.model_dump(mode="json")
    return summary


def _tuner(
    space: SpaceConfig, job: SearchJob, folder: Path, concurrency: int, monitor: SearchMonitor
) -> ray.tune.Tuner:
    trainable = ray.tune.with_resources(
        ray.tune.with_parameters(run_trial, job=job), {"CPU": space.base.ray.cpus_per_trial}
    )
    path = folder / TUNE_FOLDER
    if ray.tune.Tuner.can_restore(str(path)):
        tuner = ray.tune.Tuner.restore(
            str(path), trainable=trainable, resume_unfinished=True, resume_errored=True
        )
        monitor.attach_to(tuner)
        # A continued trial counts its reports from 1 again, and Optuna keeps the first of each.
        warnings.filterwarnings("ignore", message="The reported value is ignored")
        return tuner
    return ray.tune.Tuner(
        trainable,
        tune_config=ray.tune.TuneConfig(
            num_samples=space.trials,
            max_concurrent_trials=concurrency,
            search_alg=make_search(space),
            scheduler=make_scheduler(space),
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=ray.tune.RunConfig(
            name=TUNE_FOLDER, storage_path=str(folder), callbacks=[monitor], verbose=0
        ),
    )


def _deliver(
    space: SpaceConfig,
    data: FewShotData,
    folder: Path,
    examiner: Examiner,
    experiment: Experiment,
    best: TrialResult,
) -> Score:
    """Store the best trial's classifier and test it, once."""
    assert best.checkpoint is not None
    classifier = Selected.from_state(load_state(best.checkpoint)).classifier
    artifact = artifact_of(classifier, space.base, data, experiment.prepared.oracle_id)
    artifact.save(folder / BEST_FOLDER)
    return examiner.test(classifier)


def _total(results: Sequence[TrialResult], driver: Spending) -> Spending:
    return sum((result.spent for result in results), start=driver)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False)
