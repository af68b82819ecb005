"""Asking Ray's autoscaler for nodes.

A cluster has one request (`ray.autoscaler.sdk.request_resources`), which replaces the one before
and outlives whoever made it: a driver that is killed would leave its GPUs running, and paid for.
So one actor of the cluster asks for the sum of what its pools want, and forgets a pool that has not
renewed its wish.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from craft_ray.pool.leases import Bundle, Leases

logger = logging.getLogger(__name__)

ASKER = "autoscaling"
LEASE_S = 60.0
LOOK_EVERY_S = 1.0
TIMEOUT_S = 30.0
ATTEMPTS = 2


def beside_driver() -> NodeAffinitySchedulingStrategy:
    """For actors without resources of their own: on another node they would keep it from ever being
    idle, and end with it when it is lost."""
    # Not soft: Ray then chose another node in two of six tries.
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


class Asker:
    """Asks for all pools of a cluster; wrapped as a detached Ray actor, which ends itself when no
    pool is left.

    Args:
        lease_s: how long a wish is good that is not renewed.
    """

    def __init__(self, lease_s: float) -> None:
        self._leases = Leases(lease_s)
        # Of what an asker before this one has asked, nothing is known.
        self._asked: list[dict[str, float]] | None = None
        self._lock = threading.Lock()
        self._me = ray.get_runtime_context().current_actor
        threading.Thread(target=self._watch, name="autoscaling", daemon=True).start()

    def renew(self, holder: str, bundle: Bundle, count: int) -> None:
        """A pool wants nodes for so many replicas."""
        with self._lock:
            self._leases.renew(holder, bundle, count, time.monotonic())
            self._ask()

    def release(self, holder: str) -> None:
        """A pool has ended."""
        with self._lock:
            self._leases.release(holder)
            self._ask()

    def _ask(self) -> None:
        wanted = self._leases.bundles(time.monotonic())
        if wanted != self._asked:
            request_resources(bundles=wanted)
            self._asked = wanted

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            with self._lock:
                try:
                    self._ask()
                except Exception:  # asked again at the next look
                    logger.exception("the autoscaler could not be asked")
                    continue
                if not self._leases.has_holders(time.monotonic()):
                    ray.kill(self._me)
                    return


class NodeRequest:
    """What one pool has asked for.

    Args:
        holder: the pool's name.
        namespace: of the actor that asks.
        bundle: resources of one replica.
        lease_s: see `Asker`; only the first pool of a cluster has a say.
    """

    def __init__(
        self, holder: str, namespace: str, bundle: Bundle, lease_s: float = LEASE_S
    ) -> None:
        self._holder = holder
        self._namespace = namespace
        self._bundle = bundle
        self._lease_s = lease_s
        self._asker: Any = None

    def renew(self, count: int) -> None:
        """Ask for so many replicas' nodes; to be said again well within the lease."""
        self._tell("renew", self._holder, self._bundle, count)

    def withdraw(self) -> None:
        """Want nothing any more."""
        self._tell("release", self._holder)

    def _tell(self, method: str, *words: Any) -> None:
        for _ in range(ATTEMPTS):
            try:
                if self._asker is None:
                    self._asker = self._find()
                ray.get(getattr(self._asker, method).remote(*words), timeout=TIMEOUT_S)
                return
            except RayError as error:  # it had just ended, or its node is lost
                self._asker = None
                logger.warning("the autoscaler's asker did not hear of %s: %s", words, error)

    def _find(self) -> Any:
        asker_class: Any = ray.remote(Asker)
        return asker_class.options(
            name=ASKER,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            scheduling_strategy=beside_driver(),
        ).remote(self._lease_s)
