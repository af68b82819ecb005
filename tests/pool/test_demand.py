"""When a pool asks for replicas and when it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.pool.demand import ASK_AFTER_S, CHUNKS_A_REPLICA, Demand, LoadMeter

GIVE_BACK_AFTER_S = 60.0


class Pool:
    """A pool whose replicas come at once, and whose queries are a load: chunks waited for."""

    def __init__(self, least: int = 1, most: int = 8) -> None:
        self.demand = Demand(least, most, GIVE_BACK_AFTER_S)
        self.now_s = 1000.0
        self.chunk_seconds = 0.0
        self.serving = self.demand.wanted

    def run(
        self, seconds: float, load: Callable[[int], float], *, nodes_come: bool = True
    ) -> list[int]:
        """What was wanted in each second; `load` depends on the replicas that there are."""
        wanted = []
        for _ in range(int(seconds)):
            self.now_s += 1.0
            self.chunk_seconds += load(self.serving)
            wanted.append(self.demand.observe(self.chunk_seconds, self.serving, self.now_s))
            if nodes_come or wanted[-1] < self.serving:
                self.serving = wanted[-1]
        return wanted


def test_a_pool_starts_with_one_replica_or_the_least() -> None:
    assert Pool(least=0).demand.wanted == 1
    assert Pool(least=3).demand.wanted == 3


def test_queries_that_queue_ask_for_twice_as_many_until_the_queue_is_served() -> None:
    wanted = Pool().run(60, lambda _: 10.0)
    assert sorted(set(wanted)) == [1, 2, 4, 5]
    assert wanted == sorted(wanted)
    assert wanted[int(ASK_AFTER_S) - 2] == 1


def test_never_more_than_the_bound() -> None:
    assert max(Pool(most=3).run(200, lambda _: 1000.0)) == 3


def test_a_short_peak_asks_for_nothing() -> None:
    pool = Pool()
    for _ in range(10):
        pool.run(2, lambda _: 6.0)
        pool.run(20, lambda _: 0.0)
    assert pool.demand.wanted == 1


def test_nothing_more_is_asked_for_before_what_was_asked_for_is_there() -> None:
    wanted = Pool().run(300, lambda _: 100.0, nodes_come=False)
    assert max(wanted) == 2


@pytest.mark.parametrize("failing", [1, 3])
def test_replicas_that_cannot_be_started_do_not_keep_others_from_being_asked_for(
    failing: int,
) -> None:
    demand = Demand(1 + failing, 8, GIVE_BACK_AFTER_S)
    wanted = []
    for second in range(60):
        serving = demand.wanted - failing
        load = 10.0
        wanted.append(demand.observe(second * load, serving, float(second), failing=failing))
    assert wanted[-1] - failing == math.ceil(10 / CHUNKS_A_REPLICA)


def test_where_nothing_can_be_started_nothing_more_is_asked_for() -> None:
    demand = Demand(1, 8, GIVE_BACK_AFTER_S)
    assert {demand.observe(s * 50.0, 0, float(s), failing=1) for s in range(300)} == {1}


def test_what_is_not_used_is_given_back_after_a_while_down_to_the_least() -> None:
    pool = Pool()
    pool.run(60, lambda _: 16.0)
    assert pool.demand.wanted == 8
    quiet = pool.run(GIVE_BACK_AFTER_S - 15, lambda _: 0.0)
    assert set(quiet) == {8}
    pool.run(30, lambda _: 0.0)
    assert pool.demand.wanted == 1


def test_a_pool_that_may_be_empty_wakes_at_the_first_question() -> None:
    pool = Pool(least=0)
    assert pool.run(GIVE_BACK_AFTER_S + 5, lambda _: 0.0)[-1] == 0
    assert pool.run(3, lambda _: 4.0)[1] == 1


def test_a_single_question_in_a_while_keeps_a_replica() -> None:
    pool = Pool(least=0)
    for _ in range(10):
        pool.run(1, lambda _: 0.5)
        assert set(pool.run(GIVE_BACK_AFTER_S / 2, lambda _: 0.0)) == {1}


@given(
    scale=st.floats(0.1, 60.0),
    exponent=st.floats(0.0, 1.0),
    peak_s=st.integers(1, 60),
)
def test_a_steady_load_never_makes_the_pool_swing(
    scale: float, exponent: float, peak_s: int
) -> None:
    """However much the queue shrinks with more replicas (at most in proportion to their number)."""
    pool = Pool(most=32)
    pool.run(peak_s, lambda _: 100.0)

    def load(replicas: int) -> float:
        return scale / math.pow(max(replicas, 1), exponent)

    pool.run(40 * GIVE_BACK_AFTER_S, load)
    settled = pool.run(5 * GIVE_BACK_AFTER_S, load)
    assert len(set(settled)) == 1
    assert settled[-1] == 32 or load(settled[-1]) <= CHUNKS_A_REPLICA * settled[-1] + 1e-3


@given(loads=st.lists(st.floats(0, 50), max_size=60), least=st.integers(0, 4))
def test_what_is_wanted_stays_between_the_bounds(loads: list[float], least: int) -> None:
    pool = Pool(least=least, most=4)
    for value in loads:
        wanted = pool.run(7, lambda _, value=value: value)  # type: ignore[misc]
        assert all(least <= count <= 4 or count == 1 for count in wanted)


def test_a_meter_counts_chunks_times_seconds_of_all_threads() -> None:
    meter = LoadMeter()
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(lambda _: meter.waited(4, 0.25), range(1000)))
    meter.waited(2, 0.5)
    assert meter.take() == 1001.0
    assert meter.take() == 0.0
