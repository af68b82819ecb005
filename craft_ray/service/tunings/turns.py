"""Whose fine-tuning starts next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """A job that could start.

    Attributes:
        job_id: of it.
        key_id: whose it is.
        number: it came after those with smaller ones.
    """

    job_id: str
    key_id: str
    number: int


def next_job(
    waiting: Sequence[Waiting],
    running: Mapping[str, int],
    last_started: Mapping[str, float],
) -> Waiting | None:
    """The one to start now; None: nobody waits.

    Keys take turns: the key with the fewest jobs that run, among these the one whose last start
    is longest ago, and of it the oldest job. However many jobs a key has queued, another key
    waits for one of them at most.

    Args:
        waiting: all that could start.
        running: jobs that run, by key; a key without any may be left out.
        last_started: seconds of the epoch, by key; a key that never had a turn may be left out.
    """
    oldest: dict[str, Waiting] = {}
    for job in sorted(waiting, key=lambda job: job.number):
        oldest.setdefault(job.key_id, job)
    return min(
        oldest.values(),
        key=lambda job: (
            running.get(job.key_id, 0),
            last_started.get(job.key_id, 0.0),
            job.number,
        ),
        default=None,
    )
