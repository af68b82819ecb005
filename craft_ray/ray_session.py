"""Connecting to Ray: a running cluster if one is named, else a bounded Ray on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from craft_ray.config.run import RayConfig
from craft_ray.errors import ConfigError
from craft_ray.pool.lifecycle import NAMESPACE

# What a trial costs is mostly waiting: Ray Train's controller looks at its worker every
# RAY_TRAIN_HEALTH_CHECK_INTERVAL_S, and a report is only taken then.
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Our own summary and tracker replace Tune's file loggers and tables.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # An insertion into the search state is cheap; without this Tune warns about our many metrics.
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class RaySession:
    """A connected Ray."""

    is_local: bool
    """Whether this process started it and will end it."""
    resources: Mapping[str, float]
    """Total resources, with key CPU and, where there are any, GPU."""


@contextmanager
def ray_session(config: RayConfig) -> Iterator[RaySession]:
    """Connect, and leave nothing running that was started here.

    Raises:
        ConfigError: the named cluster does not answer.
    """
    os.environ.update({key: os.environ.get(key, value) for key, value in ENVIRONMENT.items()})
    address = config.address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": ENVIRONMENT},
    }
    if address:
        try:
            ray.init(address=address, **common)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                "ray", [f"address: {address!r} must be a running Ray: {error}"]
            ) from (error)
    else:
        ray.init(
            address="local",
            num_cpus=config.num_cpus,
            object_store_memory=config.object_store_mb * 2**20,
            # Without the dashboard, placement groups of stopped trials are never cleaned up.
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            **common,
        )
    try:
        resources = ray.cluster_resources()
        yield RaySession(is_local=not address, resources=resources)
    finally:
        ray.shutdown()
