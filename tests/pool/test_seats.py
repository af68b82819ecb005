"""What becomes of a place for a replica, whatever happens to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.pool.seats import (
    FAREWELL_S,
    LONGEST_REST_S,
    Order,
    Seat,
    Sight,
    State,
    next_step,
)

NOW_S = 100.0
REPLICA = object()

LOADING = Seat(State.LOADING, replica=REPLICA)
SERVING = Seat(State.SERVING, replica=REPLICA)
LEAVING = Seat(State.LEAVING, until_s=NOW_S + 1, replica=REPLICA)
LEFT = Seat(State.LEAVING, until_s=NOW_S, replica=REPLICA)
RESTING = Seat(State.RESTING, failures=2, until_s=NOW_S + 1)
RESTED = Seat(State.RESTING, failures=2, until_s=NOW_S)

NEW, LOADED, LOST = Sight.NOTHING_NEW, Sight.LOADED, Sight.LOST
START, END = Order.START, Order.END


@pytest.mark.parametrize(
    ("seat", "sight", "desired", "state", "order"),
    [
        (None, NEW, True, State.LOADING, START),
        (None, NEW, False, None, None),
        (LOADING, NEW, True, State.LOADING, None),
        (LOADING, LOADED, True, State.SERVING, None),
        (LOADING, LOST, True, State.RESTING, END),
        (LOADING, NEW, False, None, END),
        (LOADING, LOADED, False, None, END),
        (LOADING, LOST, False, None, END),
        (SERVING, NEW, True, State.SERVING, None),
        (SERVING, LOST, True, State.RESTING, END),
        (SERVING, NEW, False, State.LEAVING, None),
        (SERVING, LOST, False, None, END),
        (LEAVING, NEW, False, State.LEAVING, None),
        (LEAVING, NEW, True, State.SERVING, None),
        (LEAVING, LOST, True, State.RESTING, END),
        (LEAVING, LOST, False, None, END),
        (LEFT, NEW, False, None, END),
        (LEFT, NEW, True, State.SERVING, None),
        (RESTING, NEW, True, State.RESTING, None),
        (RESTED, NEW, True, State.LOADING, START),
        (RESTING, NEW, False, None, None),
        (RESTED, NEW, False, None, None),
    ],
)
def test_every_step(
    seat: Seat | None, sight: Sight, desired: bool, state: State | None, order: Order | None
) -> None:
    after, said = next_step(seat, sight, NOW_S, desired=desired)
    assert (after and after.state, said) == (state, order)
    if after is not None and after.state in (State.SERVING, State.LEAVING):
        assert after.replica is REPLICA


def test_who_is_lost_is_replaced_at_once_and_then_ever_more_slowly() -> None:
    seat: Seat | None = SERVING
    rests, now_s = [], NOW_S
    for _ in range(9):
        seat, _ = next_step(seat, LOST, now_s, desired=True)
        assert seat is not None
        assert seat.state is State.RESTING
        rests.append(seat.until_s - now_s)
        now_s = seat.until_s
        seat, order = next_step(seat, NEW, now_s, desired=True)
        assert order is START
    assert rests == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_REST_S, LONGEST_REST_S]
    seat, _ = next_step(seat, LOADED, now_s, desired=True)
    assert seat is not None
    assert seat.failures == 0


events = st.lists(
    st.tuples(st.booleans(), st.sampled_from(Sight), st.floats(0.1, 100.0)), max_size=40
)


@given(events)
def test_there_is_never_more_than_one_replica_and_none_is_forgotten(
    script: list[tuple[bool, Sight, float]],
) -> None:
    seat: Seat | None = None
    running, now_s = 0, 0.0
    quiet: list[tuple[bool, Sight, float]] = [(True, Sight.LOADED, LONGEST_REST_S)] * 3
    for desired, sight, seconds in [*script, *quiet]:
        now_s += seconds
        seat, order = next_step(
            seat, sight if running else Sight.NOTHING_NEW, now_s, desired=desired
        )
        running += (order is Order.START) - (order is Order.END)
        has_one = seat is not None and seat.state is not State.RESTING
        assert running == has_one
    assert seat is not None
    assert seat.state is State.SERVING, "whatever was, a desired seat serves"
    for sight in (Sight.NOTHING_NEW, Sight.NOTHING_NEW):
        now_s += FAREWELL_S
        seat, order = next_step(seat, sight, now_s, desired=False)
    assert (seat, order) == (None, Order.END)
