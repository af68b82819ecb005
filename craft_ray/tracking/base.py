"""What the search tells a tracker, and what is said of MLflow without loading it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from craft_ray.config.secrets import mask
from craft_ray.errors import RunInterruptedError

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
Point = Mapping[str, float]
"""Metrics of one generation; the key `generation` is the step, `time_ms` (Unix time) when it was,
else it is now. A point of the same time, logged again, is the same."""


MAX_PARAM_LENGTH = 6000
"""Characters that MLflow keeps of a parameter."""


class Tracker(Protocol):
    """Keeps runs under keys. Opening a key again continues its run. No method raises."""

    def open(
        self, key: str, name: str, params: Mapping[str, object], parent: str | None = None
    ) -> None:
        """Start or continue the run `key`, below the run `parent`."""
        ...

    def log(self, key: str, points: Sequence[Point]) -> None:
        """Add metrics."""
        ...

    def log_folder(self, key: str, folder: Path) -> None:
        """Store a folder as artefact."""
        ...

    def close(self, key: str, status: RunStatus) -> None:
        """End a run."""
        ...

    def shutdown(self) -> None:
        """Wait until everything is written."""
        ...


@dataclass
class TrackedRun:
    """A run that is open."""

    status: RunStatus = "FINISHED"
    """With which it is closed, if nothing is raised."""


@contextmanager
def tracked(
    tracker: Tracker, key: str, name: str, params: Mapping[str, object]
) -> Iterator[TrackedRun]:
    """Open a run, and close it whatever happens: killed, if the user stops it, or failed."""
    tracker.open(key, name, params)
    run = TrackedRun()
    try:
        yield run
    except (KeyboardInterrupt, RunInterruptedError):
        tracker.close(key, "KILLED")
        raise
    except BaseException:
        tracker.close(key, "FAILED")
        raise
    tracker.close(key, run.status)


class NullTracker:
    """Tracks nothing (`mlflow.enabled: false`)."""

    def open(
        self, key: str, name: str, params: Mapping[str, object], parent: str | None = None
    ) -> None:
        pass

    def log(self, key: str, points: Sequence[Point]) -> None:
        pass

    def log_folder(self, key: str, folder: Path) -> None:
        pass

    def close(self, key: str, status: RunStatus) -> None:
        pass

    def shutdown(self) -> None:
        pass


class RefusedError(Exception):
    """An entry that can never be sent."""


def first_line(error: Exception) -> str:
    """What went wrong, short and without credentials."""
    return mask(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))


def is_remote(uri: str) -> bool:
    """Whether a server stands between us and the store."""
    return uri.startswith(("http://", "https://"))
