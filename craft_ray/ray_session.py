"""Connecting to Ray: a running cluster if one is named, else a bounded Ray on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from craft_ray.config.run import RayConfig
from craft_ray.environment import ENVIRONMENT, set_environment
from craft_ray.errors import ConfigError
from craft_ray.pool.lifecycle import NAMESPACE


@contextmanager
def ray_session(config: RayConfig) -> Iterator[Mapping[str, float]]:
    """Connect, and leave nothing running that was started here.

    Yields the cluster's total resources, with key CPU and, where there are any, GPU.

    Raises:
        ConfigError: the named cluster does not answer.
    """
    set_environment()
    address = config.address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {key: os.environ[key] for key in ENVIRONMENT}},
    }
    if address:
        try:
            ray.init(address=address, **common)
        except (ConnectionError, ValueError, RuntimeError) as error:
            problem = f"address: {address!r} must be a running Ray: {error}"
            raise ConfigError("ray", [problem]) from error
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
        yield ray.cluster_resources()
    finally:
        ray.shutdown()
