"""Keys take turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.service.tunings.turns import Waiting, next_job


def test_the_oldest_job_of_a_key_comes_first() -> None:
    waiting = [Waiting("b", "anna", 2), Waiting("a", "anna", 1)]
    assert next_job(waiting, {}, {}) == waiting[1]


def test_nobody_waits() -> None:
    assert next_job([], {"anna": 1}, {}) is None


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_however_many_jobs_a_key_has_another_one_waits_for_one_of_them_at_most(
    owners: list[str],
) -> None:
    waiting = [Waiting(str(number), key, number) for number, key in enumerate(owners)]
    last_started: dict[str, float] = {}
    order: list[str] = []
    while (job := next_job(waiting, {}, last_started)) is not None:
        waiting.remove(job)
        order.append(job.key_id)
        last_started[job.key_id] = float(len(order))
    assert sorted(order) == sorted(owners)
    for key in set(owners):
        places = [place for place, owner in enumerate(order) if owner == key]
        for before, after in zip([-1, *places], places, strict=False):
            between = order[before + 1 : after]
            assert len(between) == len(set(between))  # no other key twice in a row of turns


def test_a_key_without_a_running_job_comes_before_one_that_has_some() -> None:
    waiting = [Waiting("a", "anna", 1), Waiting("b", "bert", 2)]
    chosen = next_job(waiting, {"anna": 1}, {"bert": 9.0})
    assert chosen is not None
    assert chosen.key_id == "bert"
