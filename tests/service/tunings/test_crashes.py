"""The runner is killed between two of its lines, or something that it needs fails: each job ends,
is charged once, and keeps no other from its turn."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from craft_ray.errors import RunFailedError
from craft_ray.jobs.run_lock import run_lock
from craft_ray.service.tunings.process import TuningProcess
from craft_ray.service.tunings.rows import ENDED
from craft_ray.service.tunings.runner import TuningRunner
from tests.service.tunings.test_runner import add_job, look_until, messages, state
from tests.support.tuning_service import FakeMeter, FakeService, fake_command, fake_service, summary


@pytest.fixture
def service(tmp_path: Path) -> Iterator[FakeService]:
    service = fake_service(tmp_path / "service")
    yield service
    service.records.close()


class KilledError(BaseException):
    """As kill -9: nothing of the runner catches it."""


class Killing:
    """What somebody is asked, until kill -9 comes before or after one of the calls."""

    def __init__(self, asked: Any, method: str, number: int, after: bool) -> None:
        self._asked, self._method, self._after = asked, method, after
        self._left = number

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._asked, name)
        if name != self._method or not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise KilledError
            result = method(*arguments, **named)
            if self._left == 0:
                raise KilledError
            return result

        return call


def killed_runner(service: FakeService, records: Any, meter: Any) -> TuningRunner:
    return TuningRunner(
        records,
        meter,
        service.workplace(),
        1,
        lambda job: fake_command(service, job),
    )


PLACES = [
    *(("records", "change_job", 2, after) for after in (False, True)),
    ("records", "change_job", 3, False),
    ("meter", "begin_for", 1, True),
    *(("meter", "settle", 1, after) for after in (False, True)),
    ("records", "add_file", 1, True),
]
"""Method and number of the call, and whether it was done before the end came."""


@pytest.mark.parametrize(
    ("who", "method", "number", "after", "is_cancelled", "fails_once"),
    [
        *((*place, is_cancelled, False) for place in PLACES for is_cancelled in (False, True)),
        ("records", "change_job", 4, True, False, True),
        ("meter", "settle", 1, True, False, True),
    ],
)
def test_a_runner_killed_anywhere_leaves_what_the_next_one_ends(
    service: FakeService,
    who: str,
    method: str,
    number: int,
    after: bool,
    is_cancelled: bool,
    fails_once: bool,
) -> None:
    job_id = add_job(service)
    records: Any = service.records
    meter: Any = service.meter
    if who == "records":
        records = Killing(records, method, number, after)
    else:
        meter = Killing(meter, method, number, after)
    runner = killed_runner(service, records, meter)
    if fails_once:
        runner._command_of = lambda job: fake_command(service, job, code=1 - min(job.attempts, 1))
    deadline = time.monotonic() + 30
    try:
        while state(service, job_id).status not in ENDED and time.monotonic() < deadline:
            runner.look()
            time.sleep(0.01)
    except KilledError:
        pass
    runner._end_processes()  # by the leash
    if is_cancelled:
        service.records.cancel("anna", job_id, time.time())
    next_one = service.runner(lambda job: fake_command(service, job))
    look_until(next_one, lambda: state(service, job_id).status in ENDED)
    job = state(service, job_id)
    assert job.status == "succeeded" or (is_cancelled and job.status == "cancelled")
    assert service.meter.balance("anna", 0.0).spent == job.pairs
    assert job.pairs in (0, 20 * 502)
    assert all(held.is_settled for held in service.meter.held.values())


class LostReply(FakeMeter):
    """Reserves, and nobody hears of it."""

    def begin_for(self, *arguments: Any) -> Any:
        super().begin_for(*arguments)
        raise RunFailedError("the meter must answer within 30 s")


def test_what_was_reserved_unheard_is_given_back(service: FakeService) -> None:
    job_id = add_job(service)
    service.meter = LostReply()
    runner = service.runner(lambda job: ["must not be run"])
    for _ in range(3):
        runner.look()
    assert service.meter.balance("anna", 0.0).spent == 30 * 502
    heard = FakeMeter(held=service.meter.held)
    service.meter = heard
    service.records.cancel("anna", job_id, time.time())
    look_until(
        service.runner(lambda job: ["must not be run"]),
        lambda: state(service, job_id).status == "cancelled",
    )
    assert heard.balance("anna", 0.0).spent == 0


class NeverSettles(FakeMeter):
    """For one key, until it may."""

    may = False

    def settle(self, request_id: str, *rest: Any) -> Any:
        if request_id.startswith("anna") and not self.may:
            raise RunFailedError("the meter must answer within 30 s")
        return super().settle(request_id, *rest)


def test_a_job_whose_end_cannot_be_noted_keeps_no_other_waiting(service: FakeService) -> None:
    service.meter = meter = NeverSettles()
    first, second, third = add_job(service), add_job(service, "bert"), add_job(service, "bert")
    runner = service.runner(lambda job: fake_command(service, job))
    look_until(runner, lambda: state(service, second, "bert").status == "succeeded")
    look_until(runner, lambda: state(service, third, "bert").status == "succeeded")
    for _ in range(10):
        runner.look()
    assert state(service, first).status == "running"
    meter.may = True
    runner.look()
    assert state(service, first).status == "succeeded"
    said = messages(service, first)
    assert len(said) == len(set(said))


def test_what_a_killed_service_has_started_is_waited_for_before_it_is_charged(
    service: FakeService,
) -> None:
    job_id = add_job(service)
    before = service.runner(lambda job: fake_command(service, job, seconds=60))
    look_until(before, lambda: state(service, job_id).status == "running")
    before.stop(grace_s=10)
    service.records.cancel("anna", job_id, time.time())
    run = service.layout.run("anna", job_id)
    run.mkdir(parents=True, exist_ok=True)
    after = service.runner(lambda job: ["must not be run"])
    with run_lock(run):
        after.look()
        assert state(service, job_id).status == "running"
        # The other process still asks.
        (run / "settings.json").write_text("{}")
        (run / "summary.json").write_text(json.dumps(summary(predictions=7)))
    after.look()
    assert state(service, job_id).status == "cancelled"
    assert service.meter.balance("anna", 0.0).spent == 7 * 502


def test_turns_are_fair_when_the_clock_was_set_back(service: FakeService) -> None:
    now = 10_000.0
    jobs = [("anna", add_job(service, "anna"))]
    runner = TuningRunner(
        service.records,
        service.meter,
        service.workplace(),
        1,
        lambda job: fake_command(service, job),
        clock=lambda: now,
    )
    look_until(runner, lambda: state(service, jobs[0][1]).status == "succeeded")
    now = 5_000.0
    jobs += [(key, add_job(service, key)) for key in ("bert", "bert", "bert", "anna", "anna")]

    def are_done() -> bool:
        return all(state(service, job, key).status == "succeeded" for key, job in jobs)

    look_until(runner, are_done)
    started = sorted((state(service, job, key).started_at or math.inf, key) for key, job in jobs)
    assert [key for _, key in started] == ["anna", "bert", "anna", "bert", "anna", "bert"]


def test_a_job_that_was_cancelled_while_it_waited_was_charged_nothing(service: FakeService) -> None:
    _running, waiting = add_job(service), add_job(service)
    runner = service.runner(lambda job: fake_command(service, job, seconds=60))
    look_until(runner, lambda: state(service, waiting).status == "queued")
    service.records.cancel("anna", waiting, time.time())
    assert state(service, waiting).pairs == 0
    runner.stop(grace_s=10)


@pytest.mark.parametrize("how", ["succeeded", "cancelled while it waited", "at a start"])
def test_images_of_a_job_go_when_it_has_ended(service: FakeService, how: str) -> None:
    job_id = add_job(service)
    data = service.layout.data("anna", job_id)
    runner = service.runner(lambda job: fake_command(service, job, seconds=60 * (how[0] == "c")))
    if how.startswith("cancelled"):
        other = add_job(service)
        look_until(runner, service.layout.data("anna", other).is_dir)
        service.records.cancel("anna", other, time.time())
        data = service.layout.data("anna", other)
    else:
        look_until(runner, lambda: state(service, job_id).status == "succeeded")
    assert data.is_dir()
    if how == "at a start":
        runner = service.runner(lambda job: ["must not be run"])
        runner.start()
    else:
        runner.look()
    assert not data.exists()
    assert how == "at a start" or data.parent.is_dir()
    runner.stop(grace_s=10)


WAITER = """
import sys, time
try:
    print("up", file=sys.stderr, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_process_of_a_service_in_the_background_can_be_interrupted(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for `serve &`
    try:
        process = TuningProcess([sys.executable, "-c", WAITER], tmp_path / "log", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: "up" in process.last_words())
    process.interrupt(grace_s=20)
    assert process.wait() == 130


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);" + WAITER
    process = TuningProcess([sys.executable, "-c", deaf], tmp_path / "log", tmp_path)
    wait_until(lambda: "up" in process.last_words())
    process.interrupt(grace_s=0.2)
    assert process.wait() == -signal.SIGKILL


def test_a_line_that_could_not_be_noted_comes_again(tmp_path: Path) -> None:
    script = "import sys; print('one', file=sys.stderr); print('two', file=sys.stderr)"
    process = TuningProcess([sys.executable, "-c", script], tmp_path / "log", tmp_path)
    wait_until(lambda: process.exit_code() is not None)

    for _ in range(2):  # and whoever notes it fails
        assert next(iter(process.new_lines())) == "one"
    assert list(process.new_lines()) == ["one", "two"]
    assert list(process.new_lines()) == []


def test_a_process_finds_the_modules_that_the_service_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "not_installed.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "checkout")
    process = TuningProcess(
        [sys.executable, "-c", "import not_installed"], tmp_path / "log", tmp_path
    )
    wait_until(lambda: process.exit_code() is not None)
    assert process.exit_code() == 0, process.last_words()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
