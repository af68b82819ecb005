"""Jobs, slots and reports under workers that die and askers that come twice. No Ray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.files.remote import Place
from craft_ray.jobs.board import JobBoard
from craft_ray.jobs.job import Job, JobEnd, Reporter, Store

Value = TypeVar("Value")
SOON_S = 5.0
DONE = JobEnd("finished")


@dataclass(frozen=True)
class NamedJob(Job):
    name: str

    @property
    def id(self) -> str:
        return self.name

    @property
    def folder(self) -> Place:
        return Path(self.name)

    def run(self, reporter: Reporter, store: Store) -> None:
        raise AssertionError("boards run nothing")


def board(patience_s: float = 60.0, max_attempts: int = 3) -> tuple[JobBoard, list[Any]]:
    """And the workers that it has ended."""
    ended: list[Any] = []
    return JobBoard(ended.append, patience_s, max_attempts), ended


async def soon(work: Awaitable[Value]) -> Value:
    return await asyncio.wait_for(work, SOON_S)


async def never(work: Awaitable[Any]) -> None:
    """It blocks."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    task.cancel()


def test_a_job_goes_to_a_slot_and_its_reports_to_who_asks() -> None:
    async def story() -> None:
        jobs, _ = board()
        await never(jobs.take(0, "w", None))
        await jobs.submit(NamedJob("a"))
        await jobs.submit(NamedJob("a"))  # by somebody who was started again
        assert await soon(jobs.take(0, "w", None)) == NamedJob("a")
        await never(jobs.take(1, "v", None))
        await never(jobs.next_message("a", 0))
        assert await soon(jobs.report("a", 0, {"generation": 1}))
        assert (await soon(jobs.next_message("a", 0))).report == {"generation": 1}
        assert (await soon(jobs.next_message("a", 0))).report == {"generation": 1}
        await soon(jobs.end(0, "w", DONE))
        assert (await soon(jobs.next_message("a", 1))).end == DONE
        await jobs.close()
        assert await soon(jobs.take(0, "w", None)) is None

    asyncio.run(story())


def test_a_worker_does_not_run_ahead_of_who_listens() -> None:
    async def story() -> None:
        jobs, _ = board()
        await jobs.submit(NamedJob("a"))
        await soon(jobs.take(0, "w", None))
        assert await soon(jobs.report("a", 0, {}))
        await never(jobs.report("a", 1, {}))
        await soon(jobs.next_message("a", 0))
        assert await soon(jobs.report("a", 1, {}))  # said again, kept once
        await soon(jobs.next_message("a", 1))
        await never(jobs.next_message("a", 2))

    asyncio.run(story())


def test_a_successor_goes_on_with_the_job_of_the_dead_and_the_dead_gets_nothing() -> None:
    async def story() -> None:
        jobs, _ = board()
        waiting = asyncio.ensure_future(jobs.take(0, "dead", None))
        await asyncio.sleep(0)
        successor = asyncio.ensure_future(jobs.take(0, "next", None))
        assert await soon(waiting) is None
        await jobs.submit(NamedJob("a"))
        assert await soon(successor) == NamedJob("a")
        assert await soon(jobs.take(0, "third", None)) == NamedJob("a")
        await soon(jobs.end(0, "next", DONE))  # from beyond the grave
        await never(jobs.next_message("a", 0))
        await soon(jobs.end(0, "third", DONE))
        assert (await soon(jobs.next_message("a", 0))).end == DONE

    asyncio.run(story())


def test_a_job_that_kills_its_workers_is_given_up_and_the_next_one_is_run() -> None:
    async def story() -> None:
        jobs, _ = board(max_attempts=2)
        await jobs.submit(NamedJob("deadly"))
        await jobs.submit(NamedJob("good"))
        for token in ("1", "2"):
            assert await soon(jobs.take(0, token, None)) == NamedJob("deadly")
            await jobs.stumbled(0, token, "out of memory")
        assert await soon(jobs.take(0, "3", None)) == NamedJob("good")
        end = (await soon(jobs.next_message("deadly", 0))).end
        assert end == JobEnd("failed", "its worker ended 2 times. out of memory")

    asyncio.run(story())


def test_who_is_stopped_hears_it_and_who_waits_is_not_begun() -> None:
    async def story() -> None:
        jobs, ended = board()
        for name in ("runs", "waits"):
            await jobs.submit(NamedJob(name))
        await soon(jobs.take(0, "w", "worker"))
        told = asyncio.ensure_future(jobs.cancelled("runs"))
        await never(jobs.cancelled("runs"))
        for name in ("runs", "waits", "runs", "unknown"):
            await jobs.cancel(name)
        await soon(told)
        assert not await soon(jobs.report("runs", 0, {}))
        assert (await soon(jobs.next_message("waits", 0))).end == JobEnd("stopped early")
        await never(jobs.ended(["runs", "waits"]))
        await soon(jobs.end(0, "w", JobEnd("stopped early")))
        await soon(jobs.ended(["runs", "waits", "unknown"]))
        await never(jobs.take(0, "w", "worker"))
        assert ended == []

    asyncio.run(story())


def test_a_job_that_does_not_stop_costs_its_worker_and_no_other_job() -> None:
    async def story() -> None:
        jobs, ended = board(patience_s=0.05)
        await jobs.submit(NamedJob("stubborn"))
        await jobs.submit(NamedJob("other"))
        await soon(jobs.take(0, "w", "worker"))
        await soon(jobs.take(1, "v", "neighbour"))
        await jobs.cancel("stubborn")
        await asyncio.sleep(0.08)
        assert ended == ["worker"]
        # Its successor stops before it begins, and stores what there is.
        assert await soon(jobs.take(0, "successor", "another")) == NamedJob("stubborn")
        await soon(jobs.cancelled("stubborn"))
        assert await soon(jobs.wants_result(0, "successor"))
        await soon(jobs.end(0, "successor", JobEnd("stopped early")))
        await soon(jobs.ended(["stubborn"]))

    asyncio.run(story())


def test_who_died_after_it_was_told_to_stop_has_a_successor_who_stores_what_there_is() -> None:
    async def story() -> None:
        jobs, _ = board()
        await jobs.submit(NamedJob("a"))
        await soon(jobs.take(0, "dead", None))
        await jobs.cancel("a")
        assert await soon(jobs.take(0, "next", None)) == NamedJob("a")
        assert not await soon(jobs.report("a", 0, {}))
        assert not await jobs.has_ended("a")
        await soon(jobs.end(0, "next", JobEnd("stopped early")))
        assert await jobs.has_ended("a")

    asyncio.run(story())


def test_a_result_is_stored_by_who_has_the_job_and_if_it_is_wanted() -> None:
    async def story() -> None:
        jobs, _ = board()
        await jobs.submit(NamedJob("a"))
        await soon(jobs.take(0, "cut off", None))
        assert await jobs.wants_result(0, "cut off")
        await soon(jobs.take(0, "next", None))
        assert not await jobs.wants_result(0, "cut off")
        assert await jobs.wants_result(0, "next")
        await jobs.cancel("a", keep_result=False)
        assert not await jobs.wants_result(0, "next")
        await jobs.cancel("a")
        assert not await jobs.wants_result(0, "next")

    asyncio.run(story())


def test_the_job_of_a_lost_slot_goes_to_another_and_without_slots_all_fail() -> None:
    async def story() -> None:
        jobs, _ = board()
        for name in ("a", "b"):
            await jobs.submit(NamedJob(name))
        assert await soon(jobs.take(0, "w", None)) == NamedJob("a")
        await jobs.slot_lost(0, 1, "no node")
        assert await soon(jobs.take(1, "v", None)) == NamedJob("a")
        await jobs.slot_lost(1, 0, "no node at all")
        await jobs.submit(NamedJob("late"))
        for name in ("a", "b", "late"):
            end = (await soon(jobs.next_message(name, 0))).end
            assert end == JobEnd("failed", "no node at all")

    asyncio.run(story())


def test_a_forgotten_job_is_unknown() -> None:
    async def story() -> None:
        jobs, _ = board()
        await jobs.submit(NamedJob("a"))
        await jobs.forget("a")  # it has not ended
        await soon(jobs.take(0, "w", None))
        await soon(jobs.end(0, "w", DONE))
        await jobs.forget("a")
        with pytest.raises(KeyError):
            await jobs.next_message("a", 0)
        assert not await soon(jobs.report("a", 0, {}))
        await soon(jobs.cancelled("a"))

    asyncio.run(story())


@settings(max_examples=60, deadline=None)
@given(
    num_jobs=st.integers(1, 6),
    num_slots=st.integers(1, 3),
    deaths=st.integers(0, 8),
    seed=st.integers(0, 2**16),
)
def test_whoever_dies_each_job_ends_once_with_all_its_reports_in_order(
    num_jobs: int, num_slots: int, deaths: int, seed: int
) -> None:
    draw = random.Random(seed)
    heard: dict[str, list[int]] = {}

    async def listen(jobs: JobBoard, name: str) -> JobEnd:
        index, mine = 0, heard.setdefault(name, [])
        while True:
            message = await jobs.next_message(name, index)
            if message.end is not None:
                return message.end
            assert message.report is not None
            mine.append(message.report["n"])
            index += 1

    async def slot(jobs: JobBoard, number: int, lives: list[int]) -> None:
        token = 0
        while True:
            token += 1
            while (job := await jobs.take(number, f"{number}/{token}", None)) is not None:
                dies_at = draw.randrange(4) if lives[0] > 0 and draw.random() < 0.4 else None
                for n in range(4):
                    if n == dies_at:
                        break
                    await asyncio.sleep(0)
                    await jobs.report(job.id, n, {"n": n})
                if dies_at is not None:
                    lives[0] -= 1
                    break
                await jobs.end(number, f"{number}/{token}", DONE)
            else:
                return

    async def story() -> None:
        jobs, lives = board(max_attempts=100)[0], [deaths]
        names = [f"job{number}" for number in range(num_jobs)]
        for name in names:
            await jobs.submit(NamedJob(name))
        slots = [asyncio.ensure_future(slot(jobs, n, lives)) for n in range(num_slots)]
        ends = await soon(asyncio.gather(*(listen(jobs, name) for name in names)))
        assert ends == [DONE] * num_jobs
        assert heard == {name: [0, 1, 2, 3] for name in names}
        await jobs.close()
        await soon(asyncio.gather(*slots))

    asyncio.run(story())
