"""A pool that another driver of the cluster keeps, and offers by its name."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.errors import ConfigError, PoolError, last_words
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.replica import ReplicaStats

LOOK_EVERY_S = 0.2
AS_ITS_OWNER_SAYS = {"max_tokens_per_forward", "images_per_forward", "feature_cache_mb"}
"""Settings of replicas, and of no model: those of the pool hold, whatever ours are."""


def offered_name(name: str) -> str:
    """Of the registry of a pool that is offered by a name."""
    return f"offered/{name}/registry"


class AttachedPool:
    """What a driver knows of a pool that it does not keep.

    Args:
        address: of the registry.
        model: that is wanted; None if it does not matter.
        config: of the pool that is wanted.

    Raises:
        ConfigError: there is no such pool, or it has another model.
        PoolError: it does not answer.
    """

    def __init__(
        self, address: PoolAddress, model: OracleConfig | None, config: PoolConfig
    ) -> None:
        self.address = address
        self._config = config
        try:
            self._registry: Any = ray.get_actor(address.registry, namespace=address.namespace)
        except ValueError:
            problem = (
                "attach: must be the name of a pool that is up on this cluster (craft-ray serve), "
                f"but got {config.attach!r}"
            )
            raise ConfigError("pool", [problem]) from None
        hosted = self._ask("model")
        if model is not None and hosted is not None:
            differences = differences_that_matter(hosted, model)
            if differences:
                words = f"must be that of the pool {config.attach!r}: {', '.join(differences)}"
                raise ConfigError("oracle", [words])

    def wait_until_ready(self) -> None:
        """Wait until a replica answers.

        Raises:
            PoolError: none did within `start_timeout_s`.
        """
        deadline = time.monotonic() + self._config.start_timeout_s
        while not self._ask("members"):
            if time.monotonic() > deadline:
                raise PoolError(
                    f"pool: {self._config.attach} had no replica within "
                    f"start_timeout_s={self._config.start_timeout_s:g}"
                )
            time.sleep(LOOK_EVERY_S)

    def stats(self, timeout_s: float) -> dict[str, ReplicaStats]:
        """What each serving replica has done, for all who have asked it since it was started."""
        asked = {}
        for name in self._ask("members"):
            with suppress(ValueError):  # it has just gone
                replica = ray.get_actor(name, namespace=self.address.namespace)
                asked[replica.stats.remote()] = name.split("/")[-2]
        ready, _ = ray.wait(list(asked), num_returns=max(1, len(asked)), timeout=timeout_s)
        result = {}
        for reference in ready:
            with suppress(RayError):
                result[asked[reference]] = ray.get(reference)
        return result

    def _ask(self, method: str) -> Any:
        try:
            return ray.get(
                getattr(self._registry, method).remote(), timeout=self._config.start_timeout_s
            )
        except RayError as error:
            raise PoolError(
                f"the pool {self._config.attach!r} does not answer: {last_words(error)}"
            ) from error


def differences_that_matter(hosted: OracleConfig, wanted: OracleConfig) -> list[str]:
    """Why a pool does not have the model that is wanted, a phrase for each setting.

    `precision: auto` takes that of the pool. The other way round it does not: what `auto` means is
    known only where the pool is.

    Args:
        hosted: settings of the pool's model.
        wanted: of the model that a run asks for.
    """
    theirs = hosted.model_dump(mode="json", exclude=AS_ITS_OWNER_SAYS)
    ours = wanted.model_dump(mode="json", exclude=AS_ITS_OWNER_SAYS)
    if wanted.precision == "auto":
        ours["precision"] = hosted.precision
    differences = []
    for name in theirs:
        if theirs[name] != ours[name]:
            remedy = " (auto takes it as it is there)" if name == "precision" else ""
            differences.append(f"oracle.{name}={theirs[name]}, but got {ours[name]}{remedy}")
    return differences
