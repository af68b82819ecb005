"""A run of the tracker is closed whatever happens in it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from craft_ray.errors import RunFailedError, RunInterruptedError
from craft_ray.tracking import NullTracker, RunStatus, tracked


class Statuses(NullTracker):
    """Keeps with what status runs were closed."""

    def __init__(self) -> None:
        self.of: dict[str, list[RunStatus]] = {}

    def open(
        self,
        key: str,
        name: str,
        params: Mapping[str, object],
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.of[key] = []

    def close(self, key: str, status: RunStatus) -> None:
        self.of[key].append(status)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "KILLED"),
        (RunInterruptedError("2 of 6 trials have ended"), "KILLED"),
        (RunFailedError("the board was lost"), "FAILED"),
        (ValueError("a mistake of ours"), "FAILED"),
        (SystemExit(1), "FAILED"),
    ],
)
def test_what_ends_a_run_is_its_status(error: BaseException, status: RunStatus) -> None:
    tracker = Statuses()
    with pytest.raises(type(error)), tracked(tracker, "key", "name", {}):
        raise error
    assert tracker.of == {"key": [status]}


def test_a_run_that_comes_to_its_end_is_closed_once_as_it_says() -> None:
    tracker = Statuses()
    with tracked(tracker, "good", "name", {"seed": 1}):
        pass
    with tracked(tracker, "bad", "name", {}) as run:
        run.status = "FAILED"
    assert tracker.of == {"good": ["FINISHED"], "bad": ["FAILED"]}
