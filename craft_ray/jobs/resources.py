"""How many trials fit beside the pool. Pure arithmetic."""

from __future__ import annotations

from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError

# Sums of fractional CPUs are compared; Ray itself counts in steps of 1e-4.
EPSILON = 1e-6


def concurrent_trials(config: RunConfig, wanted: int, replicas: int, num_cpus: float) -> int:
    """At most `wanted`, and no more than can hold their resources at the same time.

    A trial takes the CPU of its Tune function and that of its Train worker in separate placement
    groups. More trials than fit would hold the first and wait for the second for ever.

    Raises:
        ConfigError: not even one trial fits.
    """
    free = num_cpus - replicas * config.pool.cpus_per_replica
    per_trial = config.ray.cpus_per_trial + config.ray.cpus_per_worker
    fitting = int((free + EPSILON) / per_trial)
    if fitting < 1:
        raise ConfigError(
            "ray",
            [
                "pool.replicas * pool.cpus_per_replica + ray.cpus_per_trial + ray.cpus_per_worker "
                f"<= CPUs must hold, but got {replicas} * {config.pool.cpus_per_replica} + "
                f"{config.ray.cpus_per_trial} + {config.ray.cpus_per_worker} and {num_cpus:g} CPUs"
            ],
        )
    return min(wanted, fitting)
