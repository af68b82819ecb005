"""How fast an endpoint is asked, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from craft_ray.oracle.gate.pacing import Breaker, Bucket, Concurrency, backoff_s


def sent_within(bucket: Bucket, seconds: float, units: int = 1) -> int:
    """How many requests go, one after the other, as soon as they may."""
    now, number = 0.0, 0
    while True:
        now += bucket.wait_s(units, now)
        if now > seconds:
            return number
        bucket.take(units, now)
        number += 1


@pytest.mark.parametrize("per_minute", [20, 60, 600, 6000])
def test_a_rate_is_kept_from_the_first_minute_on(per_minute: int) -> None:
    burst = max(1, per_minute // 60)
    for minutes in (1, 5):
        sent = sent_within(Bucket(per_minute, 0.0), 60.0 * minutes - 0.01)
        assert minutes * per_minute - 1 <= sent <= minutes * per_minute + burst


def test_what_is_larger_than_a_second_goes_and_is_waited_for() -> None:
    bucket = Bucket(400, 0.0)
    assert bucket.wait_s(96, 0.0) == 0
    assert sent_within(bucket, 599.9, units=96) == pytest.approx(4000 / 96, abs=1)


def test_without_a_rate_nothing_waits() -> None:
    bucket = Bucket(None, 0.0)
    bucket.take(10**9, 0.0)
    assert bucket.wait_s(10**9, 0.0) == 0


def test_more_go_at_once_only_while_they_are_used() -> None:
    concurrency = Concurrency(None)
    assert concurrency.limit == 4
    concurrency.answered(under_way=1)
    assert concurrency.limit == 4
    for _ in range(100):
        concurrency.answered(under_way=concurrency.limit)
    assert concurrency.limit == 64


def test_refusals_for_load_halve_it_in_seven_and_leave_one() -> None:
    concurrency = Concurrency(None)
    for _ in range(28):
        concurrency.answered(under_way=64)
    assert concurrency.limit == 32
    for _ in range(7):
        concurrency.dropped()
    assert concurrency.limit == 15
    for _ in range(100):
        concurrency.dropped()
    assert concurrency.limit == 1


@pytest.mark.parametrize(("declared", "first", "most"), [(1, 1, 1), (2, 2, 2), (10, 4, 10)])
def test_the_declared_concurrency_is_kept(declared: int, first: int, most: int) -> None:
    concurrency = Concurrency(declared)
    assert concurrency.limit == first
    for _ in range(100):
        concurrency.answered(under_way=64)
    assert concurrency.limit == most


def breaker() -> Breaker:
    return Breaker(first_rest_s=0.5, longest_rest_s=8, patience_s=120)


def opened(at: float = 0.0) -> Breaker:
    new = breaker()
    for _ in range(5):
        new.failed(at, was_probe=False)
    return new


def test_it_opens_at_the_fifth_failure() -> None:
    new = breaker()
    for _ in range(4):
        new.failed(0.0, was_probe=False)
    assert new.may_send(0.0) == "any"
    new.failed(0.0, was_probe=False)
    assert new.may_send(0.0) == "not yet"
    assert new.rest_s(0.0) == 0.5


def test_one_failure_among_ten_answers_does_not_open_it() -> None:
    new = breaker()
    for _ in range(100):
        new.failed(0.0, was_probe=False)
        for _ in range(11):
            new.answered()
    assert new.may_send(0.0) == "any"


def test_one_probe_goes_and_its_answer_lets_all_go() -> None:
    one = opened()
    assert one.may_send(0.5) == "probe"
    one.probe_goes()
    assert one.may_send(0.6) == "probe under way"
    one.probe_ends()
    one.answered()
    assert one.may_send(0.6) == "any"
    one.failed(0.7, was_probe=False)  # it is not trusted at once
    assert one.may_send(0.7) == "not yet"


def test_an_answer_that_was_under_way_lets_all_go() -> None:
    one = opened()
    one.answered()
    assert one.may_send(0.0) == "any"


def test_rests_are_doubled_and_after_the_patience_it_is_given_up() -> None:
    one, now, rests = opened(), 0.0, []
    while (rest := one.rest_s(now)) and one.may_send(now) != "given up":
        rests.append(rest)
        now += rest
        one.probe_goes()
        one.probe_ends()
        one.failed(now, was_probe=True)
    assert rests[:6] == [0.5, 1, 2, 4, 8, 8]
    assert 120 <= now < 129
    assert len(rests) < 22
    now += one.rest_s(now)  # whoever comes later finds out anew
    assert one.may_send(now) == "probe"
    one.probe_goes()
    one.probe_ends()
    one.failed(now, was_probe=True)
    assert one.may_send(now) == "not yet"


def test_failures_of_what_was_under_way_do_not_lengthen_the_rest() -> None:
    one = opened()
    for _ in range(60):
        one.failed(0.1, was_probe=False)
    assert one.may_send(0.5) == "probe"


def test_backoff_is_doubled_up_to_the_longest_and_differs() -> None:
    for failures, whole in ((1, 0.5), (2, 1), (5, 8), (50, 8)):
        rests = {backoff_s(failures, 0.5, 8) for _ in range(100)}
        assert all(0.75 * whole <= rest <= whole for rest in rests)
        assert len(rests) > 50
