"""What becomes of a place for a replica, look by look. Pure: no Ray, time is an argument.

    (empty) --> LOADING --> SERVING <--> LEAVING --> (empty)
                   |           |
                   +-- lost ---+--> RESTING --> LOADING

However a replica is lost (its model cannot be loaded, its process or its node ends), its seat rests
and then gets a new one, as long as it is desired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
"""After the second loss in a row, doubling from there; the first is mended at once."""
FAREWELL_S = 3.0
"""Who has to go still answers what clients send before they have read the new members."""


class State(Enum):
    """Of a seat."""

    LOADING = "loading"
    """A replica has been started, and has not loaded the model yet."""
    SERVING = "serving"
    LEAVING = "leaving"
    """Nobody new asks it; it is ended when its time is over."""
    RESTING = "resting"
    """Its replica was lost; the next is started when its time is over."""


class Sight(Enum):
    """What is seen of a seat's replica."""

    NOTHING_NEW = "nothing new"
    LOADED = "loaded"
    LOST = "lost"


class Order(Enum):
    """What is to be done."""

    START = "start"
    END = "end"


@dataclass(frozen=True)
class Seat:
    """A place that has, had or will have a replica.

    Attributes:
        state: see `State`.
        failures: replicas lost in a row before one has served.
        until_s: end of the time that LEAVING or RESTING takes.
        replica: whatever the keeper has put there.
    """

    state: State
    failures: int = 0
    until_s: float = 0.0
    replica: Any = None


def next_step(
    seat: Seat | None, sight: Sight, now_s: float, *, desired: bool
) -> tuple[Seat | None, Order | None]:
    """The seat after this look, and what is to be done; None for an empty one, and for nothing.

    What is to be ended is the replica that the seat had before.
    """
    if seat is None:
        return (Seat(State.LOADING), Order.START) if desired else (None, None)
    if seat.state is State.RESTING:
        if not desired:
            return None, None
        if now_s < seat.until_s:
            return seat, None
        return replace(seat, state=State.LOADING), Order.START
    if sight is Sight.LOST:
        if not desired:
            return None, Order.END
        until_s = now_s + _rest_s(seat.failures)
        return Seat(State.RESTING, seat.failures + 1, until_s), Order.END
    if seat.state is State.LOADING:
        if not desired:
            return None, Order.END
        return (_serving(seat) if sight is Sight.LOADED else seat), None
    if desired:
        return _serving(seat), None
    if seat.state is State.SERVING:
        return replace(seat, state=State.LEAVING, until_s=now_s + FAREWELL_S), None
    return (seat, None) if now_s < seat.until_s else (None, Order.END)


def _serving(seat: Seat) -> Seat:
    return Seat(State.SERVING, replica=seat.replica)


def _rest_s(failures: int) -> float:
    return 0.0 if failures == 0 else min(FIRST_REST_S * 2 ** (failures - 1), LONGEST_REST_S)
