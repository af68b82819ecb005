"""The records in a process of their own on a cluster: one writes, whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayError, RayTaskError

from craft_ray.errors import RunFailedError, last_words
from craft_ray.pool.cluster import beside_driver
from craft_ray.service.tunings.records import TuningRecords

NAMESPACE = "craft_ray"


def start_records(name: str, path: Path) -> TuningRecords:
    """Start the process, on this node; it is started again if it is lost, and reads its file.

    Args:
        name: of the actor.
        path: of the database.

    Returns:
        Who passes calls on to it.
    """
    actor_class: Any = ray.remote(TuningRecords)
    actor = actor_class.options(
        name=name,
        namespace=NAMESPACE,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,  # a call that may have been done is not done again unasked
        scheduling_strategy=beside_driver(),
    ).remote(path)
    return records_of(actor)


def find_records(name: str) -> TuningRecords:
    """Who passes calls on to the actor of this name.

    Raises:
        ValueError: there is none.
    """
    return records_of(ray.get_actor(name, namespace=NAMESPACE))


def records_of(actor: Any) -> TuningRecords:
    """Who has the methods of `TuningRecords`, each of which is done by the actor."""
    return cast(TuningRecords, _Passing(actor))


class _Passing:
    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of Python, which asks while this is unpickled
            raise AttributeError(name)
        method = getattr(self._actor, name)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return ray.get(method.remote(*arguments, **named))
            except RayTaskError as error:
                raise error.as_instanceof_cause() from error
            except RayError as error:
                words = f"the records of tunings do not answer: {last_words(error)}"
                raise RunFailedError(words) from error

        return call
