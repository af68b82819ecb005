"""How many jobs fit beside the pool. Pure arithmetic."""

from __future__ import annotations

from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.pool.placement import TrialPlace

# Sums of fractional CPUs are compared; Ray itself counts in steps of 1e-4.
EPSILON = 1e-6


def concurrent_jobs(
    config: RunConfig, wanted: int, place: TrialPlace, cpus_beside: float = 0.0
) -> int:
    """At most `wanted`, and no more than can hold their resources at the same time: a slot that
    waits for its CPUs would be waited for.

    Args:
        config: says what a replica and a slot take.
        wanted: jobs at a time.
        place: where they may run.
        cpus_beside: what a job takes beside its slot.

    Raises:
        ConfigError: not even one job fits.
    """
    free = place.num_cpus - place.num_replicas * config.pool.cpus_per_replica
    each = cpus_beside + config.ray.cpus_per_worker
    fitting = int((free + EPSILON) / each)
    if fitting < 1:
        beside = f" + {cpus_beside}" if cpus_beside else ""
        term = " + ray.cpus_per_trial" if cpus_beside else ""
        raise ConfigError(
            "ray",
            [
                f"pool.replicas * pool.cpus_per_replica{term} + ray.cpus_per_worker "
                f"<= CPUs must hold, but got {place.num_replicas} * "
                f"{config.pool.cpus_per_replica}{beside} + {config.ray.cpus_per_worker} and "
                f"{place.num_cpus:g} CPUs"
            ],
        )
    return min(wanted, fitting)
