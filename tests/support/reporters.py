"""Whoever hears of a job, without a board."""

from __future__ import annotations

from craft_ray.jobs.job import JobStoppedError, Report, Reporter


class SilentReporter(Reporter):
    """Keeps what it is told; stops the job before a generation, if that is asked for.

    Args:
        stop_after: reports.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.reports: dict[int, Report] = {}
        self.order: list[int] = []
        self._stop_after = stop_after

    def send(self, index: int, report: Report) -> None:
        """Keep it."""
        self.order.append(index)
        self.reports[index] = report

    def check(self) -> None:
        """Stop, when it is time."""
        if self._stop_after is not None and len(self.reports) >= self._stop_after:
            raise JobStoppedError
