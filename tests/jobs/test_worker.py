"""What a worker makes of a job, whatever it ends with. No Ray."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from craft_ray.errors import ArtifactError, PoolError, RunFailedError, StorageError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import (
    RESULT_FILE,
    TRACEBACK_FILE,
    Job,
    JobEnd,
    JobStoppedError,
    Reporter,
    Store,
    read_result,
    write_result,
)
from craft_ray.jobs.worker import note_error, run
from tests.support.reporters import SilentReporter

FINISHED = {"outcome": "finished"}


@dataclass(frozen=True)
class Told(Job):
    """Does what it is told, and keeps a diary."""

    place: Path
    error: Exception | None = None
    tidy_error: Exception | None = None
    diary: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return "told"

    @property
    def folder(self) -> Place:
        return self.place

    def run(self, reporter: Reporter, store: Store) -> None:
        self.diary.append("run")
        if self.error is not None:
            raise self.error
        store(FINISHED)
        self.tidy()

    def tidy(self) -> None:
        self.diary.append("tidy")
        if self.tidy_error is not None:
            raise self.tidy_error


def end_of(job: Told, *, wanted: bool = True) -> JobEnd:
    return run(job, SilentReporter(), lambda: wanted)


def test_a_result_is_stored_before_what_led_to_it_is_dropped(tmp_path: Path) -> None:
    job = Told(tmp_path)
    note_error(job, RuntimeError("of an attempt before"))
    assert end_of(job) == JobEnd("finished")
    assert job.diary == ["run", "tidy"]
    assert [path.name for path in tmp_path.iterdir()] == [RESULT_FILE]


def test_who_comes_after_the_result_was_stored_does_nothing_again(tmp_path: Path) -> None:
    write_result(tmp_path, {"outcome": "diverged"})
    job = Told(tmp_path)
    assert end_of(job) == JobEnd("diverged")
    assert job.diary == ["tidy"]


@pytest.mark.parametrize(
    "error",
    [
        StorageError("away"),
        ArtifactError("no journal"),
        RunFailedError("unwritable"),
        MemoryError("a defect"),
    ],
)
def test_what_cannot_be_tidied_harms_nobody(tmp_path: Path, error: Exception) -> None:
    assert end_of(Told(tmp_path, tidy_error=error)) == JobEnd("finished")
    assert read_result(tmp_path) == FINISHED


def test_what_is_not_wanted_is_not_stored(tmp_path: Path) -> None:
    assert end_of(Told(tmp_path), wanted=False).outcome == "stopped early"
    assert read_result(tmp_path) is None


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (JobStoppedError(), JobEnd("stopped early")),
        (UserError("head.names"), JobEnd("failed", "head.names", is_users=True)),
        (RunFailedError("no room"), JobEnd("failed", "no room")),
        (StorageError("away"), JobEnd("failed", "away")),
        (
            OSError(errno.ENOSPC, "No space"),
            JobEnd("failed", "PLACE: must be writable, but: No space"),
        ),
    ],
)
def test_what_would_come_again_is_the_end(tmp_path: Path, error: Exception, end: JobEnd) -> None:
    found = end_of(Told(tmp_path, error))
    assert (
        JobEnd(
            found.outcome,
            found.error and found.error.replace(str(tmp_path), "PLACE"),
            found.is_users,
        )
        == end
    )
    assert read_result(tmp_path) is None


@pytest.mark.parametrize("error", [PoolError("no replica"), KeyError("?"), OSError("a defect")])
def test_anything_else_may_go_better_the_next_time(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        end_of(Told(tmp_path, error))
    note_error(Told(tmp_path), error)
    assert type(error).__name__ in (tmp_path / TRACEBACK_FILE).read_text()
