"""Requests that end in the middle, and a meter, a disk or a process that does not go on: what was
reserved is charged once or given back, and a repetition is answered."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import Response

from craft_ray.errors import OracleError, RunFailedError
from craft_ray.oracle.contract import ClassificationTask, ImageHandle
from craft_ray.service.asking import Asker, PixelSet
from craft_ray.service.fair_turns import FairWorkers
from craft_ray.service.http import bodies
from craft_ray.service.http.app import make_app
from craft_ray.service.http.bodies import read_body
from craft_ray.service.http.desk import Desk
from craft_ray.service.http.problems import Problem
from craft_ray.service.http.protocol import one_of
from craft_ray.service.http.upkeep import delete_before, keep_alive
from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import LOCAL_KEY, Admitted, Asked, Caller
from craft_ray.service.shelf import Shelf
from tests.service.http.conftest import OneAtATime, desk_of
from tests.service.http.test_protocol import PICTURES, TASK, ask, digest_of, question, register
from tests.support.fake_oracle import FakeOracle

PAIRS = 10
ADMITTED = Admitted(Caller(LOCAL_KEY, LOCAL_KEY, frozenset({"predict"})))


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    meter = Meter(tmp_path / "meter.db", time.time(), needs_keys=False)
    yield meter
    meter.close()


@pytest.fixture
def desk(tmp_path: Path, embedded: OneAtATime, meter: Meter) -> Iterator[Desk]:
    desk = desk_of(tmp_path, embedded, meter)
    yield desk
    desk.asker.close()


def request_of(*parts: bytes, pause_s: float = 0.0, ends: bool = True) -> Request:
    """One whose body comes in parts."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]

    async def receive() -> Any:
        await asyncio.sleep(pause_s)
        if messages:
            return messages.pop(0)
        if ends:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def answered(desk: Desk, key: str, body: bytes = b"an answer") -> Response:
    asked = Asked("predict", PAIRS, key, "digest", desk.holder)

    async def work() -> bytes:
        await asyncio.sleep(0.05)
        return body

    return await desk.answer(request_of(), ADMITTED, asked, work, "text/plain")


def spent(meter: Meter) -> int:
    return meter.balance(LOCAL_KEY, time.time()).spent


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.03, 0.06])
def test_whoever_is_gone_is_charged_once_and_has_the_answer(
    desk: Desk, meter: Meter, after_s: float
) -> None:
    begin = meter.begin_for

    def slow(*words: Any) -> Any:
        time.sleep(0.02)
        return begin(*words)

    meter.begin_for = slow  # type: ignore[method-assign,assignment]

    async def story() -> Response:
        gone = asyncio.create_task(answered(desk, "key"))
        await asyncio.sleep(after_s)
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        while True:
            try:
                return await answered(desk, "key")
            except Problem as problem:
                if problem.status != 409:
                    raise
                await asyncio.sleep(0.02)

    assert asyncio.run(story()).body == b"an answer"
    assert spent(meter) == PAIRS


def test_an_answer_that_cannot_be_settled_is_given_back_and_deleted(
    desk: Desk, meter: Meter
) -> None:
    settle = meter.settle

    def fails(*words: Any) -> Any:
        raise RunFailedError("the disk is full")

    meter.settle = fails  # type: ignore[method-assign,assignment]
    with pytest.raises(Problem) as refused:
        asyncio.run(answered(desk, "key"))
    assert refused.value.status == 503
    assert spent(meter) == 0
    meter.settle = settle  # type: ignore[method-assign]
    assert asyncio.run(answered(desk, "key")).body == b"an answer"
    assert spent(meter) == PAIRS
    files = [path for path in desk.answers.rglob("*") if path.is_file()]
    assert len(files) == 2  # one that no record names
    os.utime(files[0], (0, 0))
    delete_before(desk.answers, time.time() - 3600)
    assert [path for path in desk.answers.rglob("*") if path.is_file()] == files[1:]
    delete_before(desk.answers / "nothing", time.time())


def test_what_cannot_be_given_back_now_is_with_a_beat(desk: Desk, meter: Meter) -> None:
    def fails(*words: Any) -> Any:
        raise RunFailedError("it starts again")

    refund, settle = meter.refund, meter.settle
    meter.refund = meter.settle = fails  # type: ignore[method-assign,assignment]
    with pytest.raises(Problem):
        asyncio.run(answered(desk, "key"))
    assert spent(meter) == PAIRS
    meter.refund, meter.settle = refund, settle  # type: ignore[method-assign]
    meter.alive(desk.holder, time.time(), desk.given_up)
    assert spent(meter) == 0
    assert asyncio.run(answered(desk, "key")).headers["x-craft-spent"] == str(PAIRS)


def test_the_beat_comes_while_all_threads_work_and_after_any_error(meter: Meter) -> None:
    beats: list[float] = []

    class Flaky:
        def alive(self, holder: str, now: float, given_up: list[str]) -> None:
            beats.append(now)
            if len(beats) < 3:
                raise KeyError("anything")

    async def story() -> None:
        given_up = ["attempt"]
        loop = asyncio.get_running_loop()
        free = threading.Event()
        with ThreadPoolExecutor(1) as busy:
            loop.set_default_executor(busy)
            busy.submit(free.wait)
            beat = asyncio.create_task(keep_alive(Flaky(), "me", given_up))  # type: ignore[arg-type]
            async with asyncio.timeout(30):
                while given_up:
                    await asyncio.sleep(0.01)
            beat.cancel()
            free.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("craft_ray.service.http.upkeep.BEAT_S", 0.01)
        asyncio.run(story())
    assert len(beats) >= 3


def test_a_service_that_ends_settles_what_was_begun_and_refuses_the_rest(
    desk: Desk, meter: Meter
) -> None:
    begun, may_end = threading.Semaphore(0), threading.Event()

    def long(_: Any) -> bytes:
        begun.release()
        may_end.wait(10)
        return b"done"

    async def story() -> list[Any]:
        async def work() -> bytes:
            return await one_of(desk.asker.run("key", long, 1.0))  # type: ignore[no-any-return]

        def ask_for(key: str) -> asyncio.Task[Response]:
            asked = Asked("predict", PAIRS, key, "digest", desk.holder)
            return asyncio.create_task(
                desk.answer(request_of(), ADMITTED, asked, work, "text/plain")
            )

        at_work = [ask_for("one"), ask_for("two")]
        for _ in at_work:
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        waits = ask_for("three")
        while not desk.asker.waiting():
            await asyncio.sleep(0.01)
        desk.asker.close()
        threading.Timer(0.1, may_end.set).start()
        await desk.finish()
        assert all(task.done() for task in (*at_work, waits))
        late = ask_for("four")
        return await asyncio.gather(*at_work, waits, late, return_exceptions=True)

    *done, refused, late = asyncio.run(story())
    assert [each.body for each in done] == [b"done", b"done"]
    assert (refused.status, late.status) == (503, 503)
    assert spent(meter) == 2 * PAIRS


def test_a_key_that_hangs_up_again_and_again_leaves_places_for_others(
    tmp_path: Path, embedded: OneAtATime, meter: Meter
) -> None:
    bounds = {"requests_at_a_time": 4}
    desk = desk_of(tmp_path, embedded, meter, keys="keys.db", bounds=bounds)
    may_end = asyncio.Event()

    async def work() -> bytes:
        await may_end.wait()
        return b"done"

    async def ask_for(key: str) -> Response:
        asked = Asked("predict", PAIRS, key, "digest", desk.holder)
        return await desk.answer(request_of(), ADMITTED, asked, work, "text/plain")

    async def story() -> None:
        for number in range(3):
            gone = asyncio.create_task(ask_for(str(number)))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        with pytest.raises(Problem) as refused:
            await ask_for("one more")
        assert refused.value.headers() == {"Retry-After": "1"}
        assert (refused.value.status, refused.value.code) == (429, "too_many_at_a_time")
        may_end.set()
        await desk.finish()
        assert (await ask_for("one more")).body == b"done"

    asyncio.run(story())
    assert spent(meter) == 4 * PAIRS
    desk.asker.close()


def test_bodies_that_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.2)
    slow = request_of(*[b"x"] * 100, pause_s=0.05)
    started_s = time.monotonic()
    with pytest.raises(Problem) as refused:
        asyncio.run(read_body(slow, 1000))
    assert (refused.value.status, refused.value.code) == (408, "slow_body")
    assert time.monotonic() - started_s < 2
    # As slowly, but enough of it.
    steady = request_of(*[b"x" * 50_000] * 10, pause_s=0.05)
    assert len(asyncio.run(read_body(steady, 10**6))) == 500_000
    with pytest.raises(Problem) as refused:
        asyncio.run(read_body(request_of(b"x", ends=False), 1000))
    assert refused.value.code == "half_a_body"


def test_images_that_others_drive_out_before_the_question(embedded: OneAtATime) -> None:
    """`FakeOracle` knows what it was given last."""

    class Forgetful(FakeOracle):
        left, gone = 2, False

        def register_images(self, images: Any, *, keep: bool = True) -> ImageHandle:
            self.last = super().register_images(images, keep=keep)
            return self.last

        def predict(self, *words: Any) -> Any:
            if self.left:
                self.left -= 1
                self.gone = True
                raise OracleError("images: must be registered first")
            return super().predict(*words)

    oracle = Forgetful()
    loads = []

    def use(_: str) -> bool:
        gone, oracle.gone = oracle.gone, False
        return not gone

    size = oracle.describe().image_size

    def load() -> Any:
        loads.append(1)
        return np.zeros((1, 3, size, size), np.uint8)

    asker = Asker(lambda: oracle, use, 10, 1)
    try:
        task = ClassificationTask(("cat", "dog"))
        (future,) = asker.predict("key", task, PixelSet("address", 1, load), None)
        assert future.result(10).shape == (1, 1, 2)
        oracle.left = 1
        (future,) = asker.predict("key", task, PixelSet("address", 1, load), None)
        assert future.result(10).shape == (1, 1, 2)
    finally:
        asker.close()


def test_files_that_their_owner_has_deleted(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 10)
    for name in ("aa", "bb"):
        assert shelf.put("key", name, b"12")
        assert not shelf.put("key", name, b"12")
    for path in tmp_path.rglob("aa"):
        if path.is_file():
            path.unlink()
    assert shelf.put("key", "aa", b"12")  # it is new again at once
    assert (shelf.get("key", "aa"), shelf.get("key", "cc")) == (b"12", None)
    assert Shelf(tmp_path, 1).has("key", "bb") or Shelf(tmp_path, 1).has("key", "aa")


def test_images_that_are_gone_from_the_disk_are_asked_for_again(
    service: Callable[..., TestClient], tmp_path: Path, embedded: OneAtATime
) -> None:
    client = service()
    own = embedded.register_task(TASK).initial_context[None]
    body = question(register(client), own)
    for data in PICTURES:
        (path,) = (tmp_path / "service" / "images").rglob(digest_of(data))
        path.unlink()
    (task,) = (tmp_path / "service" / "tasks").rglob(TASK.digest)
    task.write_bytes(b"{}")  # a disk without power
    assert ask(client, body).json()["code"] == "not_registered"
    register(client)
    assert ask(client, body).status_code == 200


def test_a_service_without_a_model_is_not_healthy(desk: Desk) -> None:
    with TestClient(make_app(desk)) as client:
        assert client.get("/healthz").status_code == 200
        desk.asker.is_ready = lambda: False
        told = client.get("/healthz")
        assert (told.status_code, told.json()["code"]) == (503, "no_pool")


def test_workers_that_have_ended_say_so() -> None:
    workers = FairWorkers(1)
    workers.close()
    with pytest.raises(RunFailedError, match="the service ends"):
        workers.submit("key", lambda: None, 1.0)
