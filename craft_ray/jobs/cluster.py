"""The slots of a run on the cluster that this process is connected to."""

from __future__ import annotations

from craft_ray.config.run import RunConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.resources import concurrent_jobs
from craft_ray.jobs.shared_storage import check_nodes_share
from craft_ray.jobs.slots import Slots
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.placement import place_trials


def slots_on_cluster(
    config: RunConfig, folder: Place, max_jobs: int, cpus_beside: float = 0.0
) -> Slots:
    """Slots for as many jobs at a time as fit beside the pool; not started yet.

    Args:
        config: says what a replica and a slot take.
        folder: of the run; every node that can run a job must see it.
        max_jobs: at a time.
        cpus_beside: what a job takes beside its slot.

    Raises:
        ConfigError: not even one job fits, or a node does not see the folder.
    """
    place = place_trials(config, cluster_nodes())
    number = concurrent_jobs(config, max_jobs, place, cpus_beside)
    check_nodes_share(folder, config, kept_free=config.pool.cpus_per_replica)
    return Slots(number, config.ray.cpus_per_worker, place.selector)
