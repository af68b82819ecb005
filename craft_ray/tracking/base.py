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
"""Metrics at one step; the key `step` is the step, `time_ms` (Unix time) when it was, else it is
now. A point of the same time, logged again, is the same."""
STEP, TIME_MS = "step", "time_ms"


MAX_PARAM_LENGTH = 6000
"""Characters that MLflow keeps of a parameter."""


CLASSIFIER_PLACE = "best"
"""Among a run's artefacts: its classifier."""


@dataclass(frozen=True)
class DataInput:
    """A set of images that a run has used.

    Attributes:
        name: of the data set.
        context: what for: `training`, `validation` or `test`.
        digest: content address; MLflow shows its beginning, and keeps the whole one in the profile.
        source: where the images are.
        num_images, num_classes: its size.
    """

    name: str
    context: str
    digest: str
    source: str
    num_images: int
    num_classes: int


@dataclass(frozen=True)
class LoggedModel:
    """What is said of a classifier that becomes a model of MLflow.

    Attributes:
        class_names: columns of its probabilities.
        metrics: by the names of `vocabulary`.
        tags: of the model.
        register_as: name in the registry; None: it is not registered.
    """

    class_names: tuple[str, ...]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    register_as: str | None = None


class Tracker(Protocol):
    """Keeps runs under keys. Opening a key again continues its run. No method raises."""

    def open(
        self,
        key: str,
        name: str,
        params: Mapping[str, object],
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Start or continue the run `key`, below the run `parent`."""
        ...

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags. `{run:KEY}` in a value becomes the address of that run's page."""
        ...

    def log_inputs(self, key: str, inputs: Sequence[DataInput]) -> None:
        """Say which images a run has used."""
        ...

    def log(self, key: str, points: Sequence[Point]) -> None:
        """Add metrics."""
        ...

    def log_folder(self, key: str, folder: Path, place: str = CLASSIFIER_PLACE) -> None:
        """Store the files of a folder as artefacts, below `place`."""
        ...

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        """Store files as artefacts, by their names."""
        ...

    def log_model(self, key: str, folder: Path, model: LoggedModel) -> None:
        """Make the classifier in `folder` a model of MLflow, which belongs to the run."""
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
    tracker: Tracker,
    key: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str] | None = None,
) -> Iterator[TrackedRun]:
    """Open a run, and close it whatever happens: killed, if the user stops it, or failed."""
    tracker.open(key, name, params, tags=tags)
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
        self,
        key: str,
        name: str,
        params: Mapping[str, object],
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        pass

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        pass

    def log_inputs(self, key: str, inputs: Sequence[DataInput]) -> None:
        pass

    def log(self, key: str, points: Sequence[Point]) -> None:
        pass

    def log_folder(self, key: str, folder: Path, place: str = CLASSIFIER_PLACE) -> None:
        pass

    def log_files(self, key: str, files: Mapping[str, bytes]) -> None:
        pass

    def log_model(self, key: str, folder: Path, model: LoggedModel) -> None:
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
