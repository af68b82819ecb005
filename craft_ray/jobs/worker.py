"""A slot's worker: takes jobs from the board and runs them, one after the other."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError
from threadpoolctl import threadpool_limits

# What every job needs is loaded before there is one.
import craft_ray.tuners.registry  # noqa: F401
from craft_ray.errors import (
    FULL_DISK,
    PoolError,
    RunFailedError,
    StorageError,
    UserError,
    last_words,
)
from craft_ray.jobs.job import (
    TRACEBACK_FILE,
    BoardLostError,
    Job,
    JobEnd,
    JobStoppedError,
    Report,
    Reporter,
    take_up_result,
    warn_of_left_overs,
    write_result,
)
from craft_ray.jobs.outlook import JobProgress

NOTE_EVERY_S = 0.5


def work(actor: Any, slot: int) -> None:
    """Run jobs until the board has no more, or is gone.

    Raises:
        Exception: a job failed for a reason that another attempt may not meet. Ray Train replaces
            this worker, and the next one is given the same job; the board limits the attempts.
    """
    # The arrays are small and the replicas need the cores. One thread also keeps the bits the same
    # whatever the number of CPUs: a threaded eigendecomposition would change the search.
    torch.set_num_threads(1)
    threadpool_limits(1)
    me = BoardClient(actor, slot)
    with suppress(BoardLostError):
        while (job := me.take()) is not None:
            try:
                end = run(job, BoardReporter(me, job.id), me.wants_result)
            except BoardLostError:
                raise
            except Exception as error:
                note_error(job, error)
                me.stumbled(last_words(error))
                if isinstance(error, PoolError):  # this worker is as good as another
                    continue
                raise
            me.end(end)


def run(job: Job, reporter: Reporter, wants_result: Callable[[], bool]) -> JobEnd:
    """Run one job to its end, and store its result. One that is there already stands: the worker
    before died after it had written it.

    What the user must mend, and a disk or a store that does not take the record, would come again:
    no second attempt.

    Raises:
        Exception: anything else; another attempt may not meet it.
    """
    result: dict[str, Any] | None = None

    def store(found: dict[str, Any]) -> None:
        nonlocal result
        if not wants_result():
            raise JobStoppedError
        write_result(job.folder, found)
        result = found

    try:
        result = take_up_result(job)
        if result is None:
            job.run(reporter, store)
    except Exception as error:
        if result is None:
            return _end_of(job, error)
        warn_of_left_overs(job, error)
    assert result is not None, "a job that comes to its end stores a result"
    with suppress(OSError, UserError):  # of an attempt before
        (job.folder / TRACEBACK_FILE).unlink(missing_ok=True)
    return JobEnd(result["outcome"])


def _end_of(job: Job, error: Exception) -> JobEnd:
    """What the job has come to without a result.

    Raises:
        Exception: another attempt may come to one.
    """
    if isinstance(error, JobStoppedError):
        return JobEnd("stopped early")
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return JobEnd("failed", f"{job.folder}: must be writable, but: {error.strerror}")
    if isinstance(error, PoolError) or not isinstance(
        error, (UserError, RunFailedError, StorageError)
    ):
        raise error
    note_error(job, error)
    return JobEnd("failed", str(error), is_users=isinstance(error, UserError))


def note_error(job: Job, error: Exception) -> None:
    """Leave the traceback in the job's folder, if that takes it."""
    with suppress(OSError):
        job.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(traceback.format_exception(error))
        (job.folder / TRACEBACK_FILE).write_bytes(text.encode())


class BoardClient:
    """A slot's line to the board.

    Every method raises `BoardLostError` when the board is gone.

    Args:
        actor: the board.
        slot: number.
    """

    def __init__(self, actor: Any, slot: int) -> None:
        self.actor = actor
        self._slot = slot
        self._token = uuid.uuid4().hex
        self._me = ray.get_runtime_context().current_actor

    def ask(self, reference: Any) -> Any:
        """What the board answers."""
        try:
            return ray.get(reference)
        except RayActorError as error:
            raise BoardLostError(str(error)) from error

    def take(self) -> Job | None:
        """The next job; None: there is no more."""
        job: Job | None = self.ask(self.actor.take.remote(self._slot, self._token, self._me))
        return job

    def wants_result(self) -> bool:
        """Whether the result of the job may be stored."""
        return bool(self.ask(self.actor.wants_result.remote(self._slot, self._token)))

    def stumbled(self, error: str) -> None:
        """An attempt has failed."""
        self.ask(self.actor.stumbled.remote(self._slot, self._token, error))

    def end(self, end: JobEnd) -> None:
        """The job is done."""
        self.ask(self.actor.end.remote(self._slot, self._token, end))


class BoardReporter(Reporter):
    """Reports to the board.

    Args:
        client: the slot's.
        job_id: whose reports they are.
    """

    def __init__(self, client: BoardClient, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._noted_s = 0.0
        self._cancelled = client.actor.cancelled.remote(job_id)
        """Is there when the job is to stop, or when the board is gone."""

    def send(self, index: int, report: Report) -> None:
        if not self._client.ask(self._client.actor.report.remote(self._job_id, index, report)):
            raise JobStoppedError

    def note(self, progress: JobProgress) -> None:
        if time.monotonic() - self._noted_s >= NOTE_EVERY_S:
            self._noted_s = time.monotonic()
            self._client.actor.note.remote(self._job_id, progress)

    def check(self) -> None:
        if ray.wait([self._cancelled], timeout=0)[0]:
            self._client.ask(self._cancelled)
            raise JobStoppedError
