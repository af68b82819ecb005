"""Files, jobs and events: each key sees its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from craft_ray.errors import ArtifactError
from craft_ray.service.tunings.records import TuningRecords


@pytest.fixture
def records(tmp_path: Path) -> Iterator[TuningRecords]:
    records = TuningRecords(tmp_path / "tunings.db")
    yield records
    records.close()


def add_file(records: TuningRecords, key_id: str, file_id: str, num_bytes: int = 5) -> bool:
    added = records.add_file(key_id, file_id, "cats.parquet", "fine-tune", num_bytes, {}, 20, 1.0)
    return added is not None


def test_another_keys_file_and_job_are_not_found(records: TuningRecords) -> None:
    assert add_file(records, "anna", "file-1")
    records.add_job("anna", "ftjob-1", {"model": "m"}, {}, 1.0)
    records.add_event("anna", "ftjob-1", "info", "created", None, 1.0)
    assert records.file("anna", "file-1") is not None
    assert records.file("bert", "file-1") is None
    assert records.job("bert", "ftjob-1") is None
    assert records.cancel("bert", "ftjob-1", 2.0) is None
    assert records.events("bert", "ftjob-1", None, 10) is None
    assert not records.remove_file("bert", "file-1")
    assert records.files("bert", None, None, 10, True) == []
    assert records.files("bert", None, "file-1", 10, True) is None
    assert records.jobs("bert", None, 10) == []
    job = records.job("anna", "ftjob-1")
    assert job is not None
    assert not job.is_cancelled


def test_files_of_a_key_have_room_together(records: TuningRecords) -> None:
    assert add_file(records, "anna", "file-1", 15)
    assert not add_file(records, "anna", "file-2", 6)
    assert add_file(records, "bert", "file-3", 6)
    assert add_file(records, "anna", "file-4", 5)
    assert records.remove_file("anna", "file-1")
    assert records.bytes_of_files("anna") == 5


def test_pages_follow_each_other(records: TuningRecords) -> None:
    for number in range(5):
        records.add_job("anna", f"ftjob-{number}", {}, {}, float(number))
        records.add_event("anna", "ftjob-0", "info", str(number), {"n": number}, float(number))
    first = records.jobs("anna", None, 3)
    assert first is not None
    assert [job.id for job in first] == ["ftjob-4", "ftjob-3", "ftjob-2"]
    rest = records.jobs("anna", "ftjob-2", 3)
    assert rest is not None
    assert [job.id for job in rest] == ["ftjob-1", "ftjob-0"]
    events = records.events("anna", "ftjob-0", None, 2)
    assert events is not None
    assert [event.message for event in events] == ["4", "3"]
    more = records.events("anna", "ftjob-0", events[-1].id, 9)
    assert more is not None
    assert [event.data for event in more] == [{"n": n} for n in (2, 1, 0)]
    assert records.events("anna", "ftjob-0", "ftevent-x", 9) is None


def test_a_job_that_was_cancelled_while_it_waited_cannot_begin(records: TuningRecords) -> None:
    records.add_job("anna", "ftjob-1", {}, {}, 1.0)
    assert records.change_job("anna", "ftjob-1", "validating_files", status="queued")
    cancelled = records.cancel("anna", "ftjob-1", 2.0)
    assert cancelled is not None
    assert cancelled.status == "cancelled"
    assert not records.change_job("anna", "ftjob-1", "queued", status="running")
    assert records.unfinished() == []


def test_a_job_that_runs_is_marked_and_goes_on_until_the_runner_sees_it(
    records: TuningRecords,
) -> None:
    records.add_job("anna", "ftjob-1", {}, {}, 1.0)
    records.change_job("anna", "ftjob-1", "validating_files", status="running", started_at=3.0)
    job = records.cancel("anna", "ftjob-1", 4.0)
    assert job is not None
    assert job.is_cancelled
    assert job.status == "running"
    assert records.last_started() == {"anna": 3.0}


def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    records = TuningRecords(tmp_path / "x.db")
    added = records.add_job("anna", "ftjob-1", {"model": "m"}, {"words": ["a=1"]}, 1.0)
    records.close()
    again = TuningRecords(tmp_path / "x.db")
    assert again.unfinished() == [added]
    again.close()


def test_a_file_of_a_later_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tunings.db"
    TuningRecords(path).close()
    TuningRecords(path).close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")
    for _ in range(2):
        with pytest.raises(ArtifactError, match="of version 1 or earlier, but is of 2"):
            TuningRecords(path)
