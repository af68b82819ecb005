"""What a slot runs, what it says meanwhile, and what remains of it on disk. Light: the driver, the
trials and the board load this module, and only the worker needs torch."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from craft_ray.errors import last_words
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json
from craft_ray.jobs.outlook import JobProgress

Report = dict[str, Any]
"""Metrics of a job so far; `craft_ray.jobs.tuning` says which."""

Store = Callable[[dict[str, Any]], None]
"""Writes a job's result, once; what led to it is needed no more. Raises JobStoppedError if the
result is not wanted."""

Outcome = Literal["running", "finished", "diverged", "stopped early", "failed"]
"""`stopped early`: a scheduler did it. `running`: in a report that is not the last one."""

RESULT_FILE = "result.json"
STATES_FOLDER = "states"
TRACEBACK_FILE = "error.txt"


REPORTS, POINTS = "reports", "points"
"""Keys of a state and of a result: what was reported so far, and the generations that belong to the
last report. Each report that is sent has its own under the latter."""
REPLAYED = "replayed"
"""Key of a report that is repeated from disk: whoever decides by it has decided already."""

logger = logging.getLogger(__name__)


class BoardLostError(Exception):
    """Whoever asked for a job is gone, and with it whoever would ask for another."""


class JobStoppedError(Exception):
    """Whoever asked for a job wants no more of it; what was paid for is on record."""


class Reporter(ABC):
    """A job's line to whoever asked for it."""

    @abstractmethod
    def send(self, index: int, report: Report) -> None:
        """Hand over report number `index` of the job, counted from 0 over all of its attempts; one
        that was handed over before is ignored.

        Blocks until the report before was taken, so that a job does not run far ahead of a
        scheduler that may stop it.

        Raises:
            JobStoppedError: it has.
            BoardLostError: there is nobody to hear it.
        """

    @abstractmethod
    def check(self) -> None:
        """To be called between two generations; costs next to nothing.

        Raises:
            JobStoppedError: nobody wants more of this job.
            BoardLostError: nobody is there who might.
        """

    def note(self, progress: JobProgress) -> None:  # noqa: B027 (nobody may look)
        """Say how far the job is, between two reports. Blocks on nothing; it may be lost."""


class Job(ABC):
    """A piece of work with a folder of its own, in which its result is found later.

    It is pickled, and runs in a slot's worker, perhaps several times: a worker that dies is
    replaced, and its successor runs the job again, from what the folder holds.
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """Unique among the jobs of a run."""

    @property
    @abstractmethod
    def folder(self) -> Place:
        """Where everything of it is."""

    @abstractmethod
    def run(self, reporter: Reporter, store: Store) -> None:
        """Do it, in a slot's worker, and store the result; then drop what nobody needs any more.

        Args:
            reporter: hears of it.
            store: takes the result.

        Raises:
            JobStoppedError: it was told to stop, or the result is not wanted. What it has done
                stays.
            UserError, RunFailedError: a second attempt would end in the same way. After the result
                is stored, all went well whatever is raised.
        """

    def tidy(self) -> None:  # noqa: B027 (most jobs have nothing to drop)
        """Drop what nobody needs any more, in place of a worker that died when it had stored the
        result. Where nothing is left to drop it costs a look: of an object store, one listing."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended."""

    outcome: Outcome
    error: str | None = None
    """What went wrong, in a line or two; for people."""
    is_users: bool = False
    """The user can mend it."""


@dataclass(frozen=True)
class Message:
    """The next thing that a job has to say: a report or its end."""

    report: Report | None = None
    end: JobEnd | None = None


def repeated(reports: Sequence[Report], points: Sequence[Any]) -> list[Report]:
    """Reports from disk as they are told again, with the points of the last one, which nobody may
    have heard: a tracker knows a point by its time, and takes it once."""
    if not reports:
        return []
    *before, last = ({**report, POINTS: [], REPLAYED: True} for report in reports)
    return [*before, {**last, POINTS: list(points)}]


def take_up_result(job: Job) -> dict[str, Any] | None:
    """What an earlier part of the run has stored of the job, which is tidied if that part could
    not; None: nothing is stored."""
    result = read_result(job.folder)
    if result is not None:
        try:
            job.tidy()
        except Exception as error:
            warn_of_left_overs(job, error)
    return result


def warn_of_left_overs(job: Job, error: Exception) -> None:
    """Its result is stored, and nothing is wrong with that."""
    logger.warning(
        "%s: its result is stored, and stands; what led to it could not all be removed, and takes "
        "room until somebody does: %s",
        *(job.folder, last_words(error)),
    )


def read_result(folder: Place) -> dict[str, Any] | None:
    """What the job in `folder` has found; None if it has not come to an end of its own yet."""
    path = folder / RESULT_FILE
    return read_json(path) if path.exists() else None


def write_result(folder: Place, result: dict[str, Any]) -> None:
    """Store a job's result; from then on it is done."""
    write_json(folder / RESULT_FILE, result)
