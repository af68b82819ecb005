"""Work in threads gives what a loop gives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from craft_ray.data import threads
from craft_ray.data.threads import AHEAD_PER_THREAD, map_in_threads


@pytest.fixture(autouse=True)
def _four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


def test_results_have_the_order_of_the_inputs() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 5 == 0 else 0)
        return number * number

    assert list(map_in_threads(slow_first, range(50))) == [n * n for n in range(50)]
    assert list(map_in_threads(slow_first, [])) == []


def test_inputs_are_worked_on_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=10)
    assert list(map_in_threads(lambda _: barrier.wait() >= 0, range(4))) == [True] * 4


def test_the_error_of_the_first_input_is_raised_and_the_rest_given_up() -> None:
    started = []

    def fail_late(number: int) -> None:
        started.append(number)
        if number == 3:
            time.sleep(0.1)
        if number >= 3:
            raise ValueError(f"input {number}")

    with pytest.raises(ValueError, match="input 3"):
        list(map_in_threads(fail_late, range(1000)))
    assert len(started) < 100


def test_few_inputs_are_taken_ahead_of_the_result_that_is_asked_for() -> None:
    taken = 0

    def inputs() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = map_in_threads(lambda number: number, inputs())
    assert next(results) == 0
    assert taken <= 4 * AHEAD_PER_THREAD
    results.close()
    assert taken <= 4 * AHEAD_PER_THREAD


def test_there_are_never_more_threads_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 500)
    names = set(map_in_threads(lambda _: threading.current_thread().name, range(500)))
    assert len(names) <= threads.MAX_THREADS


def test_what_is_under_way_is_given_up_when_nobody_needs_it() -> None:
    stop = threading.Event()

    def work(value: int) -> int:
        if value:
            assert stop.wait(timeout=30)
        return value

    results = map_in_threads(work, range(3), 3, 1, stop.set)
    assert next(results) == 0
    assert not stop.is_set()
    results.close()
    assert stop.is_set()


def test_nothing_is_given_up_that_was_wanted_to_the_end() -> None:
    given_up: list[int] = []
    assert list(map_in_threads(abs, range(5), 2, 1, lambda: given_up.append(1))) == [0, 1, 2, 3, 4]
    assert given_up == []


def test_what_is_under_way_beside_an_error_comes_to_its_end() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(value: int) -> int:
        if value == 0:
            assert begun.wait(timeout=30)
            raise ValueError("broken")
        begun.set()
        time.sleep(0.05)
        ended.set()
        return value

    with pytest.raises(ValueError, match="broken"):
        list(map_in_threads(work, range(2), 2, 1, lambda: pytest.fail("it was needed")))
    assert ended.is_set()
