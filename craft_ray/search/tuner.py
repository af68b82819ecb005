"""Ray Tune's side of a search: begun, or taken up where it was left."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import ray.tune
from optuna.trial import FrozenTrial

from craft_ray.files.remote import Place
from craft_ray.jobs.ray_storage import ray_storage
from craft_ray.search.monitor import SearchMonitor
from craft_ray.search.optuna_search import make_search
from craft_ray.search.results import number_of
from craft_ray.search.schedulers import make_scheduler
from craft_ray.search.trial import SearchJob, run_trial, trial_resources

TUNE_FOLDER = "tune"
MAX_TRIAL_FAILURES = 1
"""Beside those of its worker, which is replaced within the trial."""


def is_begun(folder: Place) -> bool:
    """Whether Tune's record of the search in `folder` is there, to go on from."""
    storage = ray_storage(folder / TUNE_FOLDER)
    return bool(
        ray.tune.Tuner.can_restore(
            storage["storage_path"], storage_filesystem=storage["storage_filesystem"]
        )
    )


def make_tuner(
    job: SearchJob,
    folder: Place,
    concurrency: int,
    monitor: SearchMonitor,
    earlier: Sequence[FrozenTrial],
) -> ray.tune.Tuner:
    """The search in `folder`; what it was begun with, `earlier` included, it remembers itself."""
    space = job.space
    trainable = ray.tune.with_resources(
        ray.tune.with_parameters(run_trial, job=job), trial_resources(space.base)
    )
    # A continued trial counts its reports from 1 again, and Optuna keeps the first of each.
    warnings.filterwarnings("ignore", message="The reported value is ignored")
    if is_begun(folder):
        storage = ray_storage(folder / TUNE_FOLDER)
        tuner = ray.tune.Tuner.restore(
            storage["storage_path"],
            trainable=trainable,
            resume_unfinished=True,
            resume_errored=True,
            storage_filesystem=storage["storage_filesystem"],
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
            search_alg=make_search(space, job.storage_path, earlier),
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
