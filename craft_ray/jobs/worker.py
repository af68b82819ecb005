"""A slot's worker: takes jobs from the board and runs them, one after the other."""

from __future__ import annotations

import traceback
import uuid
from contextlib import suppress
from typing import Any

import ray
import torch
from threadpoolctl import threadpool_limits

# What every job needs is loaded before there is one.
import craft_ray.tuners.registry  # noqa: F401
from craft_ray.errors import FULL_DISK, PoolError, RunFailedError, UserError, last_words
from craft_ray.jobs.job import (
    TRACEBACK_FILE,
    Job,
    JobEnd,
    JobStoppedError,
    Report,
    Reporter,
    write_result,
)


def work(board: Any, slot: int) -> None:
    """Run jobs until the board has no more.

    Raises:
        Exception: a job failed for a reason that another attempt may not meet. Ray Train replaces
            this worker, and the next one is given the same job; the board limits the attempts.
    """
    # The arrays are small and the replicas need the cores. One thread also keeps the bits the same
    # whatever the number of CPUs: a threaded eigendecomposition would change the search.
    torch.set_num_threads(1)
    threadpool_limits(1)
    token = uuid.uuid4().hex
    me = ray.get_runtime_context().current_actor
    while (job := ray.get(board.take.remote(slot, token, me))) is not None:
        try:
            end = run(job, BoardReporter(board, job.id))
        except Exception as error:
            note_error(job, error)
            ray.get(board.stumbled.remote(slot, token, last_words(error)))
            if isinstance(error, PoolError):  # this worker is as good as another
                continue
            raise
        ray.get(board.end.remote(slot, token, end))


def run(job: Job, reporter: Reporter) -> JobEnd:
    """Run one job to its end, and store its result.

    What the user must mend, and a disk or a store that does not take the record, would come again:
    no second attempt.

    Raises:
        Exception: anything else; another attempt may not meet it.
    """
    try:
        result = job.run(reporter)
        write_result(job.folder, result)
        job.tidy()
    except JobStoppedError:
        return JobEnd("stopped early")
    except PoolError:
        raise
    except (UserError, RunFailedError) as error:
        note_error(job, error)
        return JobEnd("failed", str(error), is_users=isinstance(error, UserError))
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        return JobEnd("failed", f"{job.folder}: must be writable, but: {error.strerror}")
    return JobEnd(result["outcome"])


def note_error(job: Job, error: Exception) -> None:
    """Leave the traceback in the job's folder, if that takes it."""
    with suppress(OSError):
        job.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(traceback.format_exception(error))
        (job.folder / TRACEBACK_FILE).write_bytes(text.encode())


class BoardReporter(Reporter):
    """Reports to the board.

    Args:
        board: the actor.
        job_id: whose reports they are.
    """

    def __init__(self, board: Any, job_id: str) -> None:
        self._board = board
        self._job_id = job_id
        self._cancelled = board.cancelled.remote(job_id)
        """Is there when the job is to stop."""

    def send(self, index: int, report: Report) -> None:
        if not ray.get(self._board.report.remote(self._job_id, index, report)):
            raise JobStoppedError

    def check(self) -> None:
        if ray.wait([self._cancelled], timeout=0)[0]:
            raise JobStoppedError
