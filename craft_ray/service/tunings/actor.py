"""The records in a process of their own on a cluster: one writes, whoever asks.

The actor is restarted when it dies: all that it knows is in its file. What was asked of it
meanwhile is asked again, so each method may be repeated.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayTaskError

from craft_ray.pool.lifecycle import NAMESPACE
from craft_ray.service.lasting_actor import PATIENCE_S, ask_patiently, start_lasting
from craft_ray.service.tunings.records import TuningRecords

CALLS_AT_ONCE = 16


class RecordsActor:
    """Opens the file with the first call: Ray restarts no actor whose constructor has failed.

    Args:
        path: of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opening = threading.Lock()
        self._records: TuningRecords | None = None

    def ask(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a method of the records; an empty name opens the file only."""
        with self._opening:
            if self._records is None:
                self._records = TuningRecords(self._path)
        return getattr(self._records, method)(*arguments, **named) if method else None


class _RecordsClient:
    """Asks the actor as if it were the records; travels between processes.

    Raises:
        RunFailedError: of each method, when the actor has not answered for `PATIENCE_S`.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of Python, which asks while this is unpickled
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            return self.ask(name, arguments, named)

        return call

    def ask(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a method, again and again while the actor restarts."""

        def ask(left_s: float) -> Any:
            try:
                return ray.get(self._actor.ask.remote(method, arguments, named), timeout=left_s)
            except RayTaskError as error:  # of the records: as if they had been called here
                raise error.cause from None

        return ask_patiently(ask, "the records of fine-tunings", PATIENCE_S)


def start_records(name: str, path: Path) -> TuningRecords:
    """Start the actor on this node, where its file is. It ends with this process.

    Args:
        name: of the actor, in the namespace of craft-ray.
        path: of the database.

    Returns:
        Who passes calls on to it.

    Raises:
        ArtifactError: the file is something else.
        ConfigError: there is an actor of this name.
        RunFailedError: the file cannot be written.
    """
    actor = start_lasting(RecordsActor, path.absolute(), name, CALLS_AT_ONCE)
    client = _RecordsClient(actor)
    try:
        client.ask("", (), {})
    except BaseException:
        ray.kill(actor)
        raise
    return cast(TuningRecords, client)


def stop_records(name: str) -> None:
    """End the actor of this name."""
    ray.kill(ray.get_actor(name, namespace=NAMESPACE))
