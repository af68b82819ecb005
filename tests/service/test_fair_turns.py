"""Nobody waits for what others bring beside it."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.service.fair_turns import FairTurns, FairWorkers

COSTS = st.lists(st.floats(0.1, 5.0), min_size=1, max_size=30)


@given(st.dictionaries(st.sampled_from("abcd"), COSTS, min_size=2))
def test_who_waits_is_served_as_much_as_anybody_but_for_one_piece(
    costs: dict[str, list[float]],
) -> None:
    turns: FairTurns[tuple[str, float]] = FairTurns()
    for key, works in costs.items():
        for cost in works:
            turns.add(key, (key, cost), cost)
    left = {key: len(works) for key, works in costs.items()}
    served = dict.fromkeys(costs, 0.0)
    largest = max(cost for works in costs.values() for cost in works)
    while (work := turns.take()) is not None:
        key, cost = work
        left[key] -= 1
        served[key] += cost
        waiting = [each for each in left if left[each]]
        for each in waiting:
            assert max(served.values()) - served[each] <= 2 * largest + 1e-9
    assert not len(turns)
    assert not any(left.values())


@given(COSTS)
def test_the_works_of_a_key_come_in_their_order(costs: list[float]) -> None:
    turns: FairTurns[int] = FairTurns()
    for number, cost in enumerate(costs):
        turns.add("a", number, cost)
    assert [turns.take() for _ in costs] == list(range(len(costs)))


def test_who_comes_late_waits_for_one_piece_and_has_saved_up_nothing() -> None:
    turns: FairTurns[str] = FairTurns()
    for number in range(100):
        turns.add("much", f"much {number}", 1.0)
    for _ in range(50):
        turns.take()
    turns.add("few", "few", 1.0)
    assert "few" in [turns.take(), turns.take()]
    for number in range(10):
        turns.add("few", f"few {number}", 1.0)
    taken = [str(turns.take()).split()[0] for _ in range(10)]
    assert 4 <= taken.count("much") <= 6


def test_keys_that_have_gone_are_forgotten() -> None:
    turns: FairTurns[int] = FairTurns()
    for number in range(1000):
        turns.add(str(number), number, 1.0)
        turns.take()
    assert len(turns._served) <= 2


def test_workers_tell_results_and_errors_and_end() -> None:
    workers = FairWorkers(2)
    begun, end = threading.Semaphore(0), threading.Event()

    def hold() -> str:
        begun.release()
        end.wait(30)
        return "held"

    def fail() -> None:
        raise ValueError("no")

    assert workers.submit("a", lambda: 3, 1.0).result(30) == 3
    with pytest.raises(ValueError, match="no"):
        workers.submit("a", fail, 1.0).result(30)
    holding = [workers.submit("a", hold, 1.0) for _ in range(2)]
    assert all(begun.acquire(timeout=30) for _ in holding)
    cancelled = workers.submit("a", lambda: 4, 1.0)
    assert cancelled.cancel()
    late = workers.submit("b", lambda: 5, 1.0)
    assert workers.waiting() >= 1
    workers.close()
    end.set()
    assert [each.result(30) for each in holding] == ["held", "held"]
    with pytest.raises(CancelledError):
        late.result(30)
    with pytest.raises(RuntimeError, match="ends"):
        workers.submit("a", lambda: 6, 1.0)
