"""A whole search: set up, tune, examine the best trial, write what was found."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import ray.tune
from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import RunFailedError, RunInterruptedError
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.remote import Place
from craft_ray.run_folder import NUM_FAILED
from craft_ray.search.full_disk import full_disk_log
from craft_ray.search.monitor import SearchMonitor
from craft_ray.search.optuna_search import make_scheduler, make_search
from craft_ray.search.resources import concurrent_trials
from craft_ray.search.results import best_of, number_of, print_table, read_results
from craft_ray.search.trial import SearchJob, run_trial, trial_resources
from craft_ray.storage import ray_storage
from craft_ray.training.experiment import Experiment, open_experiment
from craft_ray.training.preparation import FewShotData
from craft_ray.training.selection import Selected
from craft_ray.training.state import load_state

TUNE_FOLDER = "tune"
TRIALS_FOLDER = "trials"
MAX_TRIAL_FAILURES = 1
"""Beside those of its worker, which is replaced within the trial."""


def run_search(
    space: SpaceConfig, data: FewShotData, folder: Place, console: Console
) -> dict[str, Any]:
    """Run or continue the search of `folder`; returns its summary.

    Raises:
        UserError: see `open_experiment`; or not even one trial fits into the resources.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: the disk was full; `--resume` continues when it no longer is.
    """
    with open_experiment(space.base, data, folder, console) as experiment:
        place = place_trials(space.base, cluster_nodes())
        concurrency = concurrent_trials(
            space.base, space.max_concurrent_trials, place.num_replicas, place.num_cpus
        )
        return _search(space, experiment, concurrency)


def _search(space: SpaceConfig, experiment: Experiment, concurrency: int) -> dict[str, Any]:
    folder, tracker, examiner = experiment.folder, experiment.tracker, experiment.examiner
    zero_shot = examiner.validate(examiner.zero_shot)
    experiment.say(
        f"Zero-shot: {zero_shot.accuracy:.1%} on validation. {space.trials} trials, "
        f"{concurrency} at a time:"
    )
    monitor = SearchMonitor(experiment.console, tracker, folder.name, space.base.max_queries)
    settings = {"trials": space.trials, **flatten(space.base.model_dump(mode="json"))}
    tracker.open(monitor.parent_key, folder.name, settings)
    job = SearchJob(space, experiment.prepared, experiment.pool, folder / TRIALS_FOLDER)
    with monitor, full_disk_log() as full_disk:
        grid = _tuner(space, job, folder, concurrency, monitor).fit()
    if full_disk.error is not None and monitor.failed:
        # What the trials have stored is not all that they have done: nothing to be examined.
        tracker.close(monitor.parent_key, "FAILED")
        raise RunFailedError(
            f"{folder}: must be writable, but: {full_disk.error.strerror}; "
            f"{len(monitor.failed)} of {space.trials} trials did not complete: "
            f"{', '.join(map(str, monitor.failed))}; details are in {full_disk.path}"
        )
    if monitor.num_ended < space.trials:
        tracker.close(monitor.parent_key, "KILLED")
        raise RunInterruptedError(f"{monitor.num_ended} of {space.trials} trials have ended")
    trials = read_results(grid, folder, job.storage_path)
    best = best_of(trials)
    print_table(experiment.console, zero_shot, trials, best)
    results: dict[str, Any] = {
        "zero_shot": {"validation": asdict(zero_shot)},
        "trials": [trial.as_dict() for trial in trials],
        NUM_FAILED: sum(trial.status == "failed" for trial in trials),
        "best": None,
    }
    classifiers = [examiner.zero_shot]
    if best is not None and best.checkpoint is not None:
        classifiers.append(Selected.from_state(load_state(best.checkpoint)).classifier)
        experiment.deliver(classifiers[-1], monitor.parent_key)
    tests = examiner.test(classifiers)
    results["zero_shot"]["test"] = asdict(tests[0])
    if best is not None and len(tests) > 1:
        results["best"] = {**best.as_dict(), "test": asdict(tests[1])}
        accuracies = {
            "zero_shot_test_accuracy": tests[0].accuracy,
            "best_test_accuracy": tests[1].accuracy,
        }
        tracker.log(monitor.parent_key, [{"generation": 0, **accuracies}])
    results["pool"] = experiment.report_pool(monitor.parent_key)
    tracker.close(monitor.parent_key, "FINISHED")
    results["retried_chunks"] = sum(trial.retried_chunks for trial in trials)
    total = sum((trial.spent for trial in trials), start=examiner.spent)
    return experiment.write_summary(results, total, space.model_dump(mode="json"))


def _tuner(
    space: SpaceConfig, job: SearchJob, folder: Place, concurrency: int, monitor: SearchMonitor
) -> ray.tune.Tuner:
    trainable = ray.tune.with_resources(
        ray.tune.with_parameters(run_trial, job=job), trial_resources(space.base)
    )
    # A continued trial counts its reports from 1 again, and Optuna keeps the first of each.
    warnings.filterwarnings("ignore", message="The reported value is ignored")
    storage = ray_storage(folder / TUNE_FOLDER)
    path, files = storage["storage_path"], storage["storage_filesystem"]
    if ray.tune.Tuner.can_restore(path, storage_filesystem=files):
        tuner = ray.tune.Tuner.restore(
            path,
            trainable=trainable,
            resume_unfinished=True,
            resume_errored=True,
            storage_filesystem=files,
        )
        monitor.attach_to(tuner)
        return tuner

    def name_of(trial: ray.tune.experiment.Trial) -> str:
        return f"{number_of(trial.experiment_tag)}"

    return ray.tune.Tuner(
        trainable,
        tune_config=ray.tune.TuneConfig(
            num_samples=space.trials,
            max_concurrent_trials=concurrency,
            search_alg=make_search(space),
            scheduler=make_scheduler(space),
            # By number: should Tune forget a trial that it has just made, the one that it makes in
            # its place finds what was paid for.
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=ray.tune.RunConfig(
            name=TUNE_FOLDER,
            **ray_storage(folder),
            # A trial whose process was lost goes on from its checkpoint and its record of queries.
            failure_config=ray.tune.FailureConfig(max_failures=MAX_TRIAL_FAILURES),
            callbacks=[monitor],
            verbose=0,
        ),
    )
