"""What threads bring at the same time is done in one go."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from craft_ray.files.together import Together


def test_each_gets_its_own_outcome_and_many_share_a_go() -> None:
    goes = []

    def double(items: Sequence[int]) -> list[int]:
        goes.append(len(items))
        time.sleep(0.01)
        return [2 * item for item in items]

    together = Together(double)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(together, range(200))) == [2 * item for item in range(200)]
    assert sum(goes) == 200
    assert len(goes) < 60


def test_what_fails_fails_for_all_of_its_go_and_for_no_other() -> None:
    started, go_on = threading.Event(), threading.Event()

    def divide(items: Sequence[int]) -> list[float]:
        if items == [1]:
            started.set()
            assert go_on.wait(10)
        return [1 / item for item in items]

    together = Together(divide)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(together, 1)
        assert started.wait(10)
        others = [threads.submit(together, item) for item in (0, 2)]
        time.sleep(0.05)
        go_on.set()
        assert first.result(10) == 1
        for other in others:
            with pytest.raises(ZeroDivisionError):
                other.result(10)
    assert together(4) == 0.25


def test_an_interrupt_leaves_a_way_for_others() -> None:
    def interrupted(items: Sequence[int]) -> list[int]:
        raise KeyboardInterrupt

    together = Together(interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            together(1)


def test_a_missing_outcome_is_a_defect_and_not_a_wait() -> None:
    with pytest.raises(ValueError, match="zip"):
        Together[int, int](lambda _: [])(1)
