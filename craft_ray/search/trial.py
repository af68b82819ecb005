"""One trial: a Tune function that starts a Ray Train worker and waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ray.tune

from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.job import TrainJob, run_job
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.keeper import cluster_nodes
from craft_ray.pool.placement import place_trials
from craft_ray.task.prepared import PreparedTask


@dataclass(frozen=True)
class SearchJob:
    """What all trials share."""

    space: SpaceConfig
    prepared: PreparedTask
    pool: PoolAddress
    storage_path: Place


def trial_resources(config: RunConfig) -> dict[str, float] | ray.tune.PlacementGroupFactory:
    """Of the Tune function, and where; its Train worker has its own (`run_job`)."""
    cpus = {"CPU": config.ray.cpus_per_trial}
    selector = place_trials(config, cluster_nodes()).selector
    if not selector:
        return cpus
    return ray.tune.PlacementGroupFactory([cpus], bundle_label_selector=[selector])


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
