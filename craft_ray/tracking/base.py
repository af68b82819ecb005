"""What the search tells a tracker, and what is said of MLflow without loading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from craft_ray.config.secrets import mask

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


class NullTracker:
    """Tracks nothing (`mlflow.enabled: false`)."""

    def open(
        self, key: str, name: str, params: Mapping[str, object], parent: str | None = None
    ) -> None:
        """See `Tracker`."""

    def log(self, key: str, points: Sequence[Point]) -> None:
        """See `Tracker`."""

    def log_folder(self, key: str, folder: Path) -> None:
        """See `Tracker`."""

    def close(self, key: str, status: RunStatus) -> None:
        """See `Tracker`."""

    def shutdown(self) -> None:
        """See `Tracker`."""


class RefusedError(Exception):
    """An entry that can never be sent."""


def first_line(error: Exception) -> str:
    """What went wrong, short and without credentials."""
    return mask(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))


def is_remote(uri: str) -> bool:
    """Whether a server stands between us and the store."""
    return uri.startswith(("http://", "https://"))
