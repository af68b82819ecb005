"""Jobs as processes: in turns, charged once, and over a restart of the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from craft_ray.config.sections import MlflowConfig
from craft_ray.jobs.run_lock import run_lock
from craft_ray.service.tunings.methods import plan_of, read_method
from craft_ray.service.tunings.preparation import SETTINGS_FILE, prepare_job
from craft_ray.service.tunings.rows import JobRecord, new_id
from craft_ray.service.tunings.runner import TuningRunner
from craft_ray.service.tunings.upload import Facts, UploadBounds, take_upload
from tests.support.images import encoded, noise
from tests.support.tuning_service import FakeService, fake_command, fake_service, summary

BOUNDS = UploadBounds(1_000_000, 100_000, 100_000, 100)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service")
    yield service
    service.records.close()


def add_job(
    service: FakeService, key_id: str = "anna", names: Sequence[str] = ("cat", "dog")
) -> str:
    """Of three images a class."""
    file_id = new_id("file")
    path = service.layout.file_of(key_id, file_id)
    raw = service.layout.upload(key_id, file_id)
    raw.parent.mkdir(parents=True, exist_ok=True)
    images = [encoded(noise(8, 8, seed=number)) for number in range(6)]
    labels = [names[number % 2] for number in range(6)]
    pq.write_table(pa.table({"image": images, "label": labels}), raw)
    facts = take_upload(raw, path, BOUNDS)
    size = path.stat().st_size
    service.records.add_file(
        key_id, file_id, "x", "fine-tune", size, facts.as_dict(), 10**9, time.time()
    )
    plan = plan_of(read_method(None, None), 1, Facts(tuple(names), (3, 3)), False, 100)
    request = {"model": "service", "training_file": file_id, "seed": 1}
    job_id = new_id("ftjob")
    service.records.add_job(key_id, job_id, request, plan.as_dict(), time.time())
    return job_id


def state(service: FakeService, job_id: str, key_id: str = "anna") -> JobRecord:
    job = service.records.job(key_id, job_id)
    assert job is not None
    return job


def messages(service: FakeService, job_id: str) -> list[str]:
    events = service.records.events("anna", job_id, None, 100)
    assert events is not None
    return [event.message for event in reversed(events)]


def look_until(runner: TuningRunner, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        runner.look()
        time.sleep(0.02)


def test_keys_take_turns_and_only_so_many_run(service: FakeService) -> None:
    jobs = [(key, add_job(service, key)) for key in ("anna", "anna", "anna", "bert")]
    runner = service.runner(lambda job: fake_command(service, job, seconds=0.1))
    most = 0

    def is_done() -> bool:
        nonlocal most
        states = [state(service, job, key).status for key, job in jobs]
        most = max(most, states.count("running"))
        return set(states) == {"succeeded"}

    look_until(runner, is_done)
    assert most == 1
    started = sorted((state(service, job, key).started_at or 0.0, key) for key, job in jobs)
    assert [key for _, key in started] == ["anna", "bert", "anna", "anna"]


def test_a_running_job_is_cancelled_and_charged_what_it_asked(service: FakeService) -> None:
    job_id = add_job(service)
    runner = service.runner(lambda job: fake_command(service, job, seconds=60))
    look_until(runner, lambda: "Zero-shot: 50.0% on validation." in messages(service, job_id))
    assert service.meter.balance("anna", 0.0).spent == 30 * 502  # reserved
    service.records.cancel("anna", job_id, time.time())
    look_until(runner, lambda: state(service, job_id).status == "cancelled")
    assert service.meter.balance("anna", 0.0).spent == 0
    assert messages(service, job_id)[-1] == "The job was cancelled."


def test_a_users_mistake_is_told_without_places_of_the_machine(service: FakeService) -> None:
    job_id = add_job(service)
    runner = service.runner(lambda job: fake_command(service, job, code=2))
    look_until(runner, lambda: state(service, job_id).status == "failed")
    error = state(service, job_id).error
    assert error is not None
    assert error == {"code": "invalid_value", "message": "the job: must be another", "param": None}


def test_what_is_wrong_with_the_owners_settings_is_no_mistake_of_the_user(
    service: FakeService,
) -> None:
    job_id = add_job(service)
    script = "import sys; print('error: pool: must be up', file=sys.stderr); sys.exit(2)"
    starts: list[str] = []

    def command(job: JobRecord) -> list[str]:
        starts.append(job.id)
        return [sys.executable, "-c", script]

    runner = service.runner(command)
    look_until(runner, lambda: state(service, job_id).status == "failed")
    error = state(service, job_id).error
    assert error is not None
    assert error["code"] == "server_error"
    assert len(starts) == 2


def test_a_run_that_another_process_still_works_in_is_waited_for(service: FakeService) -> None:
    job_id = add_job(service)
    run = service.layout.run("anna", job_id)
    runner = service.runner(lambda job: fake_command(service, job))
    run.mkdir(parents=True)
    with run_lock(run):
        for _ in range(3):
            runner.look()
        assert state(service, job_id).status == "running"
        assert "The fine-tuning has started." not in messages(service, job_id)
    look_until(runner, lambda: state(service, job_id).status == "succeeded")


def test_a_machine_that_fails_is_tried_once_more(service: FakeService) -> None:
    first, second = add_job(service), add_job(service)
    starts: list[str] = []

    def command(job: JobRecord) -> list[str]:
        starts.append(job.id)
        fails = job.id == second or starts.count(job.id) == 1
        return fake_command(service, job, code=1 if fails else 0)

    runner = service.runner(command)
    look_until(runner, lambda: state(service, second).status == "failed")
    assert state(service, first).status == "succeeded"
    assert starts == [first, first, second, second]
    error = state(service, second).error
    assert error is not None
    assert error["code"] == "server_error"
    assert service.meter.balance("anna", 0.0).spent == 20 * 502


def test_a_restart_of_the_service_goes_on_and_charges_once(service: FakeService) -> None:
    running, queued = add_job(service), add_job(service)
    before = service.runner(lambda job: fake_command(service, job, seconds=60))
    look_until(before, lambda: "Zero-shot: 50.0% on validation." in messages(service, running))
    before.stop(grace_s=10)
    assert state(service, running).status == "running"
    assert state(service, queued).status == "queued"
    commands: list[Sequence[str]] = []

    def command(job: JobRecord) -> list[str]:
        commands.append(service.workplace().command_of(job, "python"))
        return fake_command(service, job)

    after = service.runner(command)
    look_until(after, lambda: state(service, queued).status == "succeeded")
    assert state(service, running).status == "succeeded"
    assert [words[-1] for words in commands] == ["--resume", "--json"]
    assert service.meter.balance("anna", 0.0).spent == 2 * 20 * 502
    assert len(service.meter.held) == 2


def test_what_ended_while_nobody_looked_has_succeeded(service: FakeService) -> None:
    job_id = add_job(service)
    before = service.runner(lambda job: fake_command(service, job, seconds=60))
    look_until(before, lambda: state(service, job_id).status == "running")
    before.stop(grace_s=10)
    subprocess.run(fake_command(service, state(service, job_id)), check=True)
    service.runner(lambda job: ["must not be run"]).look()
    assert state(service, job_id).status == "succeeded"


def test_what_a_run_spent_is_never_charged_beyond_what_was_reserved(service: FakeService) -> None:
    job_id = add_job(service)
    said = summary(predictions=10**6)
    runner = service.runner(lambda job: fake_command(service, job, said=said))
    look_until(runner, lambda: state(service, job_id).status == "succeeded")
    assert state(service, job_id).pairs == 30 * 502 == service.meter.balance("anna", 0.0).spent


def test_a_file_that_was_removed_before_the_job_began(service: FakeService) -> None:
    job_id = add_job(service)
    service.records.remove_file("anna", state(service, job_id).request["training_file"])
    service.runner(lambda job: ["must not be run"]).look()
    error = state(service, job_id).error
    assert error is not None
    assert (error["code"], error["param"]) == ("file_not_found", "training_file")


def test_the_password_of_a_tracker_reaches_the_run_and_nobody_else(service: FakeService) -> None:
    job_id = add_job(service)
    address = "http://someone:a-password@tracker:5000"
    place = replace(service.workplace(), mlflow=MlflowConfig(tracking_uri=address))
    job = state(service, job_id)
    prepare_job(job, service.records, place)
    file = service.layout.work("anna", job_id) / SETTINGS_FILE
    assert address in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert "a-password" not in str(place.settings_of(job))


STARTER = """
import sys, time
from pathlib import Path
from craft_ray.service.tunings.process import TuningProcess
process = TuningProcess([sys.executable, "-c", sys.argv[2]], Path(sys.argv[1]), Path("/"))
print(process.pid, flush=True)
time.sleep(60)
"""
WAITER = """
import signal, sys, time
try:
    print("up", file=sys.stderr, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr, flush=True)
"""


def test_a_process_ends_with_the_service_that_was_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(log), WAITER], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    deadline = time.monotonic() + 30
    while "up" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    while "interrupted" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert pid != starter.pid
