"""Slots on a real Ray: workers that are killed, jobs that fail, jobs that are told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import ray

from craft_ray.config.sections import RayConfig
from craft_ray.errors import RunFailedError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import TRACEBACK_FILE, Job, JobEnd, Report, Reporter, Store, read_result
from craft_ray.jobs.outlook import JobProgress
from craft_ray.jobs.ray_session import ray_session
from craft_ray.jobs.slots import Slots

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Counting(Job):
    """Counts in its folder, so that a successor goes on; and does at one number what it is told."""

    place: Path
    until: int = 4
    at: int | None = None
    deed: str = ""

    @property
    def id(self) -> str:
        return self.place.name

    @property
    def folder(self) -> Place:
        return self.place

    def run(self, reporter: Reporter, store: Store) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        done = sorted(int(path.name) for path in self.place.iterdir() if path.name.isdigit())
        for n in done:
            reporter.send(n, {"n": n, "pid": os.getpid()})
        for n in range(len(done), self.until):
            reporter.check()
            (self.place / str(n)).touch()
            if n == self.at:
                self._do()
            reporter.send(n, {"n": n, "pid": os.getpid()})
        store({"outcome": "finished", "count": self.until})

    def _do(self) -> None:
        if self.deed == "mistake":
            raise UserError("head.names: too many")
        if self.deed == "defect":
            raise RuntimeError("no such luck")
        if self.deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "hang":
            time.sleep(60)


@dataclass
class Listener:
    """Hears of jobs."""

    reports: dict[str, list[int]] = field(default_factory=dict)
    pids: dict[str, list[int]] = field(default_factory=dict)
    ends: dict[str, JobEnd] = field(default_factory=dict)

    def on_start(self, job: Job) -> None:
        self.reports[job.id], self.pids[job.id] = [], []

    def on_report(self, job: Job, report: Report) -> None:
        self.reports[job.id].append(report["n"])
        self.pids[job.id].append(report["pid"])

    def on_progress(self, job: Job, progress: JobProgress) -> None:
        pass

    def on_end(self, job: Job, end: JobEnd) -> None:
        self.ends[job.id] = end


@pytest.fixture(scope="module")
def slots(on_shared_ray: str) -> Iterator[Slots]:
    with ray_session(RayConfig()), Slots(2, 0.5, {}) as slots:
        yield slots


def run(slots: Slots, *jobs: Job) -> Listener:
    listener = Listener()
    slots.run(jobs, listener)
    return listener


def wait_until_it_stands_still(job: Counting) -> None:
    """Its worker may live for a moment after whoever wanted the job."""
    deadline = time.monotonic() + 10
    count = -1
    while count != (count := len(list(job.place.iterdir()))):
        assert time.monotonic() < deadline, "its worker goes on for nobody"
        time.sleep(1)


def test_jobs_are_run_by_warm_workers_and_their_results_are_on_disk(
    slots: Slots, tmp_path: Path
) -> None:
    jobs = [Counting(tmp_path / f"plain{number}") for number in range(6)]
    heard = run(slots, *jobs)
    assert heard.reports == {job.id: [0, 1, 2, 3] for job in jobs}
    assert set(heard.ends.values()) == {JobEnd("finished")}
    assert all(read_result(job.folder) == {"outcome": "finished", "count": 4} for job in jobs)
    assert len({pid for pids in heard.pids.values() for pid in pids}) <= 2, "two slots"


def test_a_killed_worker_is_replaced_and_its_job_goes_on(slots: Slots, tmp_path: Path) -> None:
    job = Counting(tmp_path / "killed", at=2, deed="die")
    heard = run(slots, job)
    assert heard.reports == {job.id: [0, 1, 2, 3]}
    assert heard.ends == {job.id: JobEnd("finished")}
    assert len(set(heard.pids[job.id])) == 2


def test_a_mistake_is_told_and_not_repeated_and_the_worker_lives(
    slots: Slots, tmp_path: Path
) -> None:
    mistaken, good = Counting(tmp_path / "mistaken", at=0, deed="mistake"), Counting(tmp_path / "g")
    heard = run(slots, mistaken, good)
    assert heard.ends[mistaken.id] == JobEnd("failed", "head.names: too many", is_users=True)
    assert heard.ends[good.id] == JobEnd("finished")
    assert "UserError" in (tmp_path / "mistaken" / TRACEBACK_FILE).read_text()
    assert read_result(mistaken.folder) is None


def test_a_defect_may_be_chance_and_gets_another_attempt(slots: Slots, tmp_path: Path) -> None:
    job = Counting(tmp_path / "defect", at=1, deed="defect")  # its successor finds 1 done
    heard = run(slots, job)
    assert heard.ends == {job.id: JobEnd("finished")}
    assert heard.reports == {job.id: [0, 1, 2, 3]}
    assert len(set(heard.pids[job.id])) == 2
    assert not (tmp_path / "defect" / TRACEBACK_FILE).exists(), "it has come to a good end"


def test_who_is_told_to_stop_stops_between_two_steps(slots: Slots, tmp_path: Path) -> None:
    endless = Counting(tmp_path / "endless", until=10**6)

    class Impatient(Listener):
        def on_report(self, job: Job, report: Report) -> None:
            super().on_report(job, report)
            if report["n"] == 3:
                ray.get(slots.board.cancel.remote(job.id))

    heard = Impatient()
    slots.run([endless], heard)
    assert heard.ends == {endless.id: JobEnd("stopped early")}
    assert len(list(endless.place.iterdir())) < 10
    follower = run(slots, Counting(tmp_path / "after"))
    assert follower.ends["after"] == JobEnd("finished")


def test_without_a_board_nothing_is_taken_for_a_result(slots: Slots, tmp_path: Path) -> None:
    endless = Counting(tmp_path / "endless", until=10**6)
    with Slots(1, 0.5, {}) as others:  # on the Ray that `slots` is connected to

        class Deadly(Listener):
            def on_report(self, job: Job, report: Report) -> None:
                super().on_report(job, report)
                if report["n"] == 3:
                    ray.kill(others.board)

        with pytest.raises(RunFailedError, match="the board of the jobs was lost"):
            others.run([endless], Deadly())
        wait_until_it_stands_still(endless)
    assert read_result(endless.folder) is None


def test_after_an_interrupt_no_thread_asks_ray_any_more(slots: Slots, tmp_path: Path) -> None:
    """Ray ends the process, with exit code 1, of who asks it after its shutdown."""
    endless = Counting(tmp_path / "endless", until=10**6)

    class Interrupting(Listener):
        def on_report(self, job: Job, report: Report) -> None:
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), Slots(1, 0.5, {}) as others:
        others.run([endless], Interrupting())
    assert set(threading.enumerate()) <= before
    wait_until_it_stands_still(endless)


def test_an_interrupt_before_the_workers_are_up_waits_for_none(slots: Slots) -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), Slots(1, 0.5, {}):
        raise KeyboardInterrupt
    assert set(threading.enumerate()) <= before
