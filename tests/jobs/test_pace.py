"""Lines of a log: few, and in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.jobs.pace import Pace


def test_a_line_stands_for_a_part_of_the_work() -> None:
    times = iter(range(0, 2000, 100))
    pace = Pace(lines=4, seconds=10, clock=lambda: next(times))
    shares = (0.1, 0.25, 0.3, 0.6, 0.6, 0.75, 1.0, 1.0)
    assert [pace.is_due(share) for share in shares] == [
        *(False, True, False, True, False, True, True, False)
    ]


def test_lines_do_not_come_too_often_and_none_is_lost_for_it() -> None:
    now = [0.0]
    pace = Pace(lines=20, seconds=10, clock=lambda: now[0])
    assert not pace.is_due(0.5)
    now[0] = 10.0
    assert pace.is_due(0.5)
    assert not pace.is_due(0.9)


@given(st.lists(st.floats(0, 1)), st.integers(1, 30))
def test_there_are_never_more_lines_than_promised(shares: list[float], lines: int) -> None:
    pace = Pace(lines, seconds=0)
    assert sum(pace.is_due(share) for share in sorted(shares)) <= lines
