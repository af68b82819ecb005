"""Actors whose whole knowledge is in a file: restarted when they die, and asked again meanwhile.

A reply may be lost after the work was done, so each of their calls may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError

from craft_ray.errors import ConfigError, RunFailedError
from craft_ray.pool.cluster import beside_driver
from craft_ray.pool.lifecycle import NAMESPACE

Result = TypeVar("Result")

PATIENCE_S = 30.0
"""How long a call is repeated while the actor restarts, which takes some seconds."""
_PAUSE_S = 0.1


def start_lasting(kind: type[Any], argument: Any, name: str, calls_at_once: int) -> Any:
    """Start an actor on this node, where its file is. It ends with this process.

    Args:
        kind: its class; it opens its file with the first call, as Ray restarts no actor whose
            constructor has failed.
        argument: of the constructor.
        name: of the actor, in the namespace of craft-ray.
        calls_at_once: its threads.

    Raises:
        ConfigError: there is an actor of this name.
    """
    remote: Any = ray.remote(kind)
    try:
        return remote.options(
            name=name,
            namespace=NAMESPACE,
            num_cpus=0,
            max_restarts=-1,
            # Calls are repeated by the client, which knows for how long somebody waits.
            max_task_retries=0,
            max_concurrency=calls_at_once,
            scheduling_strategy=beside_driver(),
            # Ray would keep the history of every call.
            enable_task_events=False,
        ).remote(argument)
    except ValueError as error:  # of Ray, which says that the name is taken
        problem = f"must be of no other service on this cluster, but there is an actor {name!r}"
        raise ConfigError("name", [problem]) from error


def ask_patiently(ask: Callable[[float], Result], who: str, patience_s: float) -> Result:
    """Ask again and again while the actor restarts.

    Args:
        ask: is given the seconds that are left.
        who: is asked, for messages.
        patience_s: for how long.

    Raises:
        RunFailedError: the actor has not answered for so long.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return ask(max(0.0, until - time.monotonic()))
        except (ActorUnavailableError, ActorDiedError, GetTimeoutError) as error:
            if time.monotonic() + _PAUSE_S > until:
                raise RunFailedError(
                    f"{who} must answer within {patience_s:g} s, but: {error}"
                ) from error
            time.sleep(_PAUSE_S)
