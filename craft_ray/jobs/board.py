"""Where jobs wait for a slot, and reports for whoever asked. Knows no Ray; `slots` wraps it as an
actor.

Everything is idempotent, as any process may die and ask again: a job is known by its id, a report
by its number. Nothing is lost with a process: reports are kept until the job is forgotten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from craft_ray.jobs.job import Job, JobEnd, Message, Report
from craft_ray.jobs.outlook import JobProgress

MAX_ATTEMPTS = 4
"""Workers that may die with a job before it is given up."""
PATIENCE_S = 60.0
"""A job that was told to stop and does not, for so long, costs its worker; what was paid for is on
record, whenever it ends."""


@dataclass
class _Entry:
    """A job from when it is first asked for."""

    job: Job
    reports: list[Report] = field(default_factory=list)
    progress: JobProgress | None = None
    """What it said last between two reports."""
    taken: int = 0
    """Reports that somebody has taken."""
    attempts: int = 0
    last_error: str = ""
    is_cancelled: bool = False
    is_wanted: bool = True
    """Whether its result is to be stored."""
    end: JobEnd | None = None


@dataclass
class _Slot:
    """A place for one job at a time."""

    token: str
    """Of the worker that it has now; one that comes later is its successor."""
    worker: Any
    job_id: str | None = None


class JobBoard:
    """Jobs, slots and reports of one run.

    Args:
        end_worker: ends a worker that does not stop, given what it called itself in `take`.
        patience_s: before that is done.
        max_attempts: of a job.
    """

    def __init__(
        self,
        end_worker: Callable[[Any], None],
        patience_s: float = PATIENCE_S,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._end_worker = end_worker
        self._patience_s = patience_s
        self._max_attempts = max_attempts
        self._entries: dict[str, _Entry] = {}
        self._waiting: deque[str] = deque()
        self._slots: dict[int, _Slot] = {}
        self._changed = asyncio.Condition()
        self._is_closed = False
        self._lost: str | None = None
        """Why there is no slot any more."""
        self._tasks: set[asyncio.Task[None]] = set()

    # What the one who wants a job done calls.

    async def submit(self, job: Job) -> None:
        """Have `job` done. One that is known already goes on as it is."""
        if job.id in self._entries:
            return
        entry = _Entry(job)
        self._entries[job.id] = entry
        if self._lost is not None:
            entry.end = JobEnd("failed", self._lost)
        else:
            self._waiting.append(job.id)
        await self._tell()

    async def next_message(self, job_id: str, index: int) -> Message:
        """Report number `index` of a job, or after the last one its end; blocks until then."""
        entry = self._entries[job_id]
        async with self._changed:
            await self._changed.wait_for(
                lambda: index < len(entry.reports) or entry.end is not None
            )
        if index < len(entry.reports):
            entry.taken = max(entry.taken, index + 1)
            await self._tell()
            return Message(report=entry.reports[index])
        return Message(end=entry.end)

    async def cancel(self, job_id: str, *, keep_result: bool = True) -> None:
        """Nobody wants more of a job. One that waits is not begun; one that runs stops between two
        generations; of one that has ended the reports are dropped.

        Args:
            job_id: of which job.
            keep_result: whether what it has done so far is its result, and the job done; else it
                can be taken up later, as if its worker had died.
        """
        entry = self._entries.get(job_id)
        if entry is None:
            return
        if entry.end is not None:
            entry.reports.clear()
            return
        entry.is_wanted = entry.is_wanted and keep_result
        if entry.is_cancelled:
            return
        entry.is_cancelled = True
        if job_id in self._waiting:
            self._waiting.remove(job_id)
            entry.end = JobEnd("stopped early")
        else:
            task = asyncio.create_task(self._end_overdue_workers(job_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await self._tell()

    async def has_ended(self, job_id: str) -> bool:
        """Whether a job neither runs nor waits."""
        entry = self._entries.get(job_id)
        return entry is None or entry.end is not None

    async def ended(self, job_ids: list[str]) -> None:
        """Blocks until none of these jobs runs or waits."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: all(
                    entry.end is not None
                    for job_id in job_ids
                    if (entry := self._entries.get(job_id)) is not None
                )
            )

    async def progress(self) -> dict[str, JobProgress]:
        """How far the jobs are that run, by their ids; those that have not said it are left out."""
        return {
            job_id: entry.progress
            for job_id, entry in self._entries.items()
            if entry.progress is not None and entry.end is None
        }

    async def forget(self, job_id: str) -> None:
        """Drop the reports of a job that has ended."""
        entry = self._entries.get(job_id)
        if entry is not None and entry.end is not None:
            del self._entries[job_id]

    async def close(self) -> None:
        """No slot gets a further job."""
        self._is_closed = True
        await self._tell()

    # What a slot's worker calls.

    async def take(self, slot: int, token: str, worker: Any) -> Job | None:
        """The slot's next job, or the one that the worker before died with. Blocks until there is
        one.

        Args:
            slot: number.
            token: new for each worker, so that a dead one that still waits gets nothing.
            worker: what `end_worker` knows it by.

        Returns None when there is nothing more to do for this worker.
        """
        mine = self._slots.get(slot)
        if mine is None or mine.token != token:
            mine = _Slot(token, worker, None if mine is None else mine.job_id)
            self._slots[slot] = mine
            await self._tell()
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_news(slot, mine))
                if self._is_closed or self._slots.get(slot) is not mine:
                    return None
                if mine.job_id is None:
                    mine.job_id = self._waiting.popleft()
            entry = self._entries[mine.job_id]
            if entry.end is None and entry.attempts >= self._max_attempts:
                words = f"its worker ended {entry.attempts} times. {entry.last_error}"
                entry.end = JobEnd("failed", words.strip())
            if entry.end is None:
                entry.attempts += 1
                return entry.job
            mine.job_id = None
            await self._tell()

    def _has_news(self, slot: int, mine: _Slot) -> bool:
        is_replaced = self._slots.get(slot) is not mine
        return self._is_closed or is_replaced or mine.job_id is not None or bool(self._waiting)

    async def report(self, job_id: str, index: int, report: Report) -> bool:
        """Keep report number `index`. Blocks until the one before was taken; returns whether the
        job is to go on."""
        entry = self._entries.get(job_id)
        if entry is None:
            return False
        if index >= len(entry.reports):
            entry.reports.append(report)
            await self._tell()
        async with self._changed:
            await self._changed.wait_for(
                lambda: entry.taken >= index or entry.is_cancelled or entry.end is not None
            )
        return not (entry.is_cancelled or entry.end is not None)

    async def note(self, job_id: str, progress: JobProgress) -> None:
        """Keep how far a job is."""
        if (entry := self._entries.get(job_id)) is not None:
            entry.progress = progress

    async def cancelled(self, job_id: str) -> None:
        """Blocks until a job is to stop, or has ended."""
        entry = self._entries.get(job_id)
        if entry is None:
            return
        async with self._changed:
            await self._changed.wait_for(lambda: entry.is_cancelled or entry.end is not None)

    async def wants_result(self, slot: int, token: str) -> bool:
        """Whether the slot's worker may store the result of its job: it is still the slot's, which
        a worker that was cut off for a while may not be, and the result is wanted."""
        mine = self._slots.get(slot)
        if mine is None or mine.token != token or mine.job_id is None:
            return False
        return self._entries[mine.job_id].is_wanted

    async def end(self, slot: int, token: str, end: JobEnd) -> None:
        """The slot's job is done; it may take the next."""
        mine = self._slots.get(slot)
        if mine is None or mine.token != token or mine.job_id is None:
            return
        entry = self._entries[mine.job_id]
        entry.end = entry.end or end
        if entry.is_cancelled:
            entry.reports.clear()
        mine.job_id = None
        await self._tell()

    async def stumbled(self, slot: int, token: str, error: str) -> None:
        """The slot's worker is about to die of an error; its successor takes up the job."""
        mine = self._slots.get(slot)
        if mine is not None and mine.token == token and mine.job_id is not None:
            self._entries[mine.job_id].last_error = error

    # What the keeper of the slots calls.

    async def slot_lost(self, slot: int, num_left: int, error: str) -> None:
        """A slot will have no further worker. Its job goes to another; without any left, all fail.

        Args:
            slot: which.
            num_left: slots that there still are.
            error: why.
        """
        mine = self._slots.pop(slot, None)
        if mine is not None and mine.job_id is not None:
            self._waiting.appendleft(mine.job_id)
        if num_left == 0:
            self._lost = error
            self._waiting.clear()
            for entry in self._entries.values():
                entry.end = entry.end or JobEnd("failed", error)
        await self._tell()

    async def _end_overdue_workers(self, job_id: str) -> None:
        """As long as the job does not stop. A successor stops before it begins, and stores what
        there is."""
        while True:
            await asyncio.sleep(self._patience_s)
            entry = self._entries.get(job_id)
            if entry is None or entry.end is not None:
                return
            for slot in self._slots.values():
                if slot.job_id == job_id:
                    self._end_worker(slot.worker)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
