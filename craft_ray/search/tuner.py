"""Ray Tune's side of a search."""

from __future__ import annotations

from pathlib import Path

import ray.tune
from ray.tune.search import Searcher

from craft_ray.search.monitor import SearchMonitor, number_of
from craft_ray.search.schedulers import make_scheduler
from craft_ray.search.trial import SearchJob, Trial, trial_resources

MAX_TRIAL_FAILURES = 3
"""Of the process that waits for a trial's job; the job goes on meanwhile."""
MOMENT_S = 0.1
"""Tune takes no limit of zero."""


def make_tuner(
    job: SearchJob,
    search: Searcher,
    concurrency: int,
    monitor: SearchMonitor,
    scratch: Path,
    seconds: float | None,
) -> ray.tune.Tuner:
    """The search.

    Args:
        job: what every trial has.
        search: suggests the trials.
        concurrency: trials at a time.
        monitor: hears of them.
        scratch: gets what Tune writes about it, which nobody needs afterwards.
        seconds: after which trials are told to stop and none is begun; None: no limit.
    """

    def name_of(trial: ray.tune.experiment.Trial) -> str:
        return f"{number_of(trial)}"

    trainable = ray.tune.with_resources(
        ray.tune.with_parameters(Trial, job=job), trial_resources(job.space.base)
    )
    return ray.tune.Tuner(
        trainable,
        tune_config=ray.tune.TuneConfig(
            num_samples=job.space.trials,
            time_budget_s=None if seconds is None else max(seconds, MOMENT_S),
            max_concurrent_trials=concurrency,
            search_alg=search,
            scheduler=make_scheduler(job.space),
            reuse_actors=True,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=ray.tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            failure_config=ray.tune.FailureConfig(max_failures=MAX_TRIAL_FAILURES),
            # A trial's state is its job's, in the job's folder.
            checkpoint_config=ray.tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[monitor],
            verbose=0,
        ),
    )
