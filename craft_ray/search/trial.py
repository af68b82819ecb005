"""One trial: a Tune function that starts a Ray Train worker and waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.tune

from craft_ray.config.space import SpaceConfig
from craft_ray.pool.address import PoolAddress
from craft_ray.training.job import TrainJob, run_job
from craft_ray.training.task import PreparedTask


@dataclass(frozen=True)
class SearchJob:
    """What all trials share."""

    space: SpaceConfig
    prepared: PreparedTask
    pool: PoolAddress
    storage_path: Path


def run_trial(params: dict[str, Any], job: SearchJob) -> None:
    """Fine-tune once with the sampled parameters.

    The name of the inner run is the trial's, so that a restarted trial finds its checkpoints.
    """
    run_job(
        TrainJob(job.space.resolve(params), job.prepared, job.pool),
        name=ray.tune.get_context().get_trial_name(),
        storage_path=job.storage_path,
        on_report=ray.tune.report,
    )
