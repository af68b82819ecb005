"""The scheduler's promises: every chunk is answered, no replica is flooded, losses go elsewhere."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain, count, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.errors import PoolError
from craft_ray.pool.scheduler import (
    FIRST_REST_S,
    LAST_ANSWERS_S,
    Assignment,
    Chunk,
    ChunkScheduler,
    homes_of,
    rank_replicas,
    split_population,
    split_question,
)
from tests.support.known import known


@given(num_candidates=st.integers(1, 200), size=st.integers(1, 50))
def test_chunks_cover_the_population_once_and_in_order(num_candidates: int, size: int) -> None:
    chunks = split_population(num_candidates, size)
    covered = [row for chunk in chunks for row in range(chunk.start, chunk.stop)]
    assert covered == list(range(num_candidates))
    assert all(chunk.stop - chunk.start <= size for chunk in chunks)


@given(
    num_chunks=st.integers(1, 30),
    num_replicas=st.integers(1, 6),
    max_in_flight=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_every_chunk_is_answered_whatever_is_lost_and_in_whatever_order(
    num_chunks: int, num_replicas: int, max_in_flight: int, seed: int
) -> None:
    chance = random.Random(seed)
    replicas = [f"r{index}" for index in range(num_replicas)]
    chunks = split_population(num_chunks, 1)
    scheduler = ChunkScheduler(chunks, replicas, max_in_flight, max_attempts=1000)
    in_flight: list[Assignment] = []
    answered: list[int] = []
    losses, now_s = 0, 0.0
    while scheduler.num_unfinished:
        in_flight += scheduler.assign(now_s)
        for replica in replicas:
            assert sum(a.replica == replica for a in in_flight) <= max_in_flight
        if not in_flight:
            wakes_at = scheduler.wakes_at()
            assert wakes_at is not None, "nothing in flight, nothing resting, yet not finished"
            now_s = wakes_at
            continue
        assignment = in_flight.pop(chance.randrange(len(in_flight)))
        if chance.random() < 0.3:
            scheduler.fail(assignment, "lost", now_s)
            losses += 1
        else:
            scheduler.complete(assignment)
            answered.append(assignment.chunk.index)
    assert sorted(answered) == list(range(num_chunks))
    assert scheduler.retries == losses


Event = tuple[str, int]
events = st.lists(
    st.tuples(st.sampled_from(["answer", "lose", "come", "go", "wait"]), st.integers(0, 1000)),
    max_size=60,
)


@given(
    num_chunks=st.integers(1, 12),
    max_in_flight=st.integers(1, 3),
    max_attempts=st.integers(1, 4),
    script=events,
)
def test_whatever_happens_a_chunk_is_at_one_replica_and_answered_once(
    num_chunks: int, max_in_flight: int, max_attempts: int, script: list[Event]
) -> None:
    replicas, in_flight, answered = ["r0", "r1"], list[Assignment](), list[int]()
    sent: Counter[int] = Counter()
    scheduler = ChunkScheduler(
        split_population(num_chunks, 1), replicas, max_in_flight, max_attempts
    )
    now_s, names = 0.0, count(2)
    # After the script nothing more is lost: what can end, ends.
    for kind, number in chain(script, repeat(("answer", 0))):
        for assignment in scheduler.assign(now_s):
            assert assignment.replica in replicas, "a replica that has gone gets nothing"
            in_flight.append(assignment)
            sent[assignment.chunk.index] += 1
        at = Counter(assignment.replica for assignment in in_flight)
        assert max(at.values(), default=0) <= max_in_flight
        indices = [assignment.chunk.index for assignment in in_flight] + answered
        assert len(set(indices)) == len(indices), "at two replicas, or asked again when answered"
        assert max(sent.values(), default=0) <= max_attempts
        assert scheduler.retries == sum(sent.values()) - len(sent)
        assert scheduler.num_unfinished == num_chunks - len(answered)
        if not scheduler.num_unfinished:
            return
        if kind == "wait":
            now_s += number / 20
        elif kind == "come":
            replicas = [*replicas, f"r{next(names)}"]
            scheduler.set_replicas(replicas, now_s)
        elif kind == "go":
            replicas = [name for name in replicas if name != replicas[number % len(replicas)]]
            replicas = replicas or [f"r{next(names)}"]
            scheduler.set_replicas(replicas, now_s)
        elif not in_flight:
            wakes_at = scheduler.wakes_at()
            assert wakes_at is not None, "nothing in flight, nothing resting, yet not finished"
            now_s = max(now_s, wakes_at)
        elif kind == "answer":
            assignment = in_flight.pop(number % len(in_flight))
            scheduler.complete(assignment)
            answered.append(assignment.chunk.index)
        else:
            assignment = in_flight.pop(number % len(in_flight))
            if sent[assignment.chunk.index] == max_attempts:
                with pytest.raises(PoolError, match=f"was lost {max_attempts} times"):
                    scheduler.fail(assignment, "lost", now_s)
                return
            scheduler.fail(assignment, "lost", now_s)


def test_work_goes_to_the_replica_with_least_outstanding() -> None:
    scheduler = ChunkScheduler(split_population(4, 1), ["a", "b"], 2, 3)
    assert [a.replica for a in scheduler.assign(0.0)] == ["a", "b", "a", "b"]


def test_a_lost_chunk_goes_to_another_replica_while_the_first_rests() -> None:
    scheduler = ChunkScheduler(split_population(1, 1), ["a", "b"], 1, 3)
    (first,) = scheduler.assign(0.0)
    scheduler.fail(first, "died", now_s=0.0)
    (second,) = scheduler.assign(0.0)
    assert (first.replica, second.replica) == ("a", "b")


@given(
    num_lost=st.integers(1, 6),
    max_in_flight=st.integers(1, 3),
    answers_after=st.floats(FIRST_REST_S, 10 * FIRST_REST_S),
)
def test_one_slow_replica_answers_all_when_the_others_are_lost_and_nobody_knows(
    num_lost: int, max_in_flight: int, answers_after: float
) -> None:
    replicas = [*(f"lost{index}" for index in range(num_lost)), "slow"]
    scheduler = ChunkScheduler(
        split_population(20, 1), replicas, max_in_flight, max_attempts=num_lost + 1
    )
    now_s, waiting_since = 0.0, 0.0
    at_slow: list[Assignment] = []
    while scheduler.num_unfinished:
        for assignment in scheduler.assign(now_s):
            if assignment.replica != "slow":
                scheduler.fail(assignment, "node lost", now_s)
                continue
            waiting_since = now_s if not at_slow else waiting_since
            at_slow.append(assignment)
        now_s += FIRST_REST_S / 2
        if at_slow and now_s - waiting_since >= answers_after:
            scheduler.complete(at_slow.pop(0))
            waiting_since = now_s


def test_a_chunk_that_waits_for_a_busy_replica_holds_no_other_up() -> None:
    scheduler = ChunkScheduler(split_population(3, 1), ["a", "b"], 1, 5)
    at_a, _ = scheduler.assign(0.0)
    scheduler.fail(at_a, "died", now_s=0.0)
    assert scheduler.assign(0.0) == [], "a rests, b is busy"
    (next_at_a,) = scheduler.assign(FIRST_REST_S)
    assert next_at_a == Assignment(Chunk(2, 2, 3), "a"), "chunk 0 waits for b"


def test_a_single_replica_is_tried_again_after_a_rest_that_doubles() -> None:
    scheduler = ChunkScheduler(split_population(1, 1), ["a"], 1, 5)
    now_s, rests = 0.0, []
    for _ in range(3):
        (assignment,) = scheduler.assign(now_s)
        scheduler.fail(assignment, "restarting", now_s)
        assert scheduler.assign(now_s) == []
        wakes_at = scheduler.wakes_at()
        assert wakes_at is not None
        rests.append(wakes_at - now_s)
        now_s = wakes_at
    assert rests == [FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S]


def test_a_chunk_that_is_always_lost_ends_the_query_with_the_reason() -> None:
    scheduler = ChunkScheduler(split_population(1, 1), ["a", "b"], 1, max_attempts=2)
    (first,) = scheduler.assign(0.0)
    scheduler.fail(first, "boom", now_s=0.0)
    (second,) = scheduler.assign(0.0)
    with pytest.raises(PoolError, match=r"lost 2 times: boom \(a\); bang \(b\)"):
        scheduler.fail(second, "bang", now_s=0.0)


def test_a_question_that_is_to_blame_itself_is_tried_once_more_elsewhere() -> None:
    scheduler = ChunkScheduler(split_population(1, 1), ["a", "b"], 1, max_attempts=8)
    (first,) = scheduler.assign(0.0)
    scheduler.fail(first, "no such kernel", 0.0, may_pass=False)
    (second,) = scheduler.assign(0.0)
    scheduler.fail(second, "node lost", 0.0)
    (third,) = scheduler.assign(100.0)
    with pytest.raises(PoolError, match=r"lost 3 times: no such kernel \([ab]\); node lost \(b\)$"):
        scheduler.fail(third, "no such kernel", 100.0, may_pass=False)


@given(
    script=st.lists(
        st.tuples(st.floats(0, 2 * LAST_ANSWERS_S), st.sets(st.sampled_from("abc"))), max_size=8
    )
)
def test_a_chunk_is_overdue_when_its_replica_has_been_away_too_long_in_one_piece(
    script: list[tuple[float, set[str]]],
) -> None:
    scheduler = ChunkScheduler(split_population(3, 1), ["a", "b", "c"], 1, 3)
    at = {assignment.replica: assignment for assignment in scheduler.assign(0.0)}
    now_s, last_seen_s = 0.0, dict.fromkeys("abc", 0.0)
    present = set("abc")
    for pause_s, members in script:
        last_seen_s |= dict.fromkeys(present, now_s)
        now_s += pause_s
        last_seen_s |= dict.fromkeys(present, now_s)
        scheduler.set_replicas(sorted(members), now_s)
        present = members
    for later_s in (0.0, LAST_ANSWERS_S, LAST_ANSWERS_S + 1.0):
        for name, assignment in at.items():
            away_s = 0.0 if name in present else now_s + later_s - last_seen_s[name]
            assert scheduler.is_overdue(assignment, now_s + later_s) == (away_s > LAST_ANSWERS_S)


def test_all_clients_prefer_the_same_replica_for_the_same_images() -> None:
    replicas = [f"r{index}" for index in range(8)]
    assert rank_replicas(replicas, "images") == rank_replicas(replicas[::-1], "images")
    first_choices = {rank_replicas(replicas, f"set {index}")[0] for index in range(64)}
    assert len(first_choices) > 4, "different image sets must spread over the replicas"


@given(
    num_sets=st.integers(2, 40),
    num_replicas=st.integers(1, 6),
    max_in_flight=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_chunks_about_different_sets_go_home_unless_others_have_nothing_to_do(
    num_sets: int, num_replicas: int, max_in_flight: int, seed: int
) -> None:
    chance = random.Random(seed)
    replicas = [f"r{index}" for index in range(num_replicas)]
    keys = [f"set {index}" for index in range(num_sets)]
    chunks = split_question(1, 10, keys)
    assert [chunk.key for chunk in chunks] == keys
    scheduler = ChunkScheduler(chunks, replicas, max_in_flight, max_attempts=3)
    in_flight: list[Assignment] = []
    waiting = set(keys)
    answered: list[int] = []
    while scheduler.num_unfinished:
        assigned = scheduler.assign(0.0)
        waiting -= {known(assignment.chunk.key) for assignment in assigned}
        homes = {key: home for key, home in homes_of(keys, replicas).items() if key in waiting}
        in_flight += assigned
        at = Counter(assignment.replica for assignment in in_flight)
        assert max(at.values()) <= max_in_flight
        for replica in replicas:
            has_room = at[replica] < max_in_flight
            assert not (has_room and replica in homes.values()), "its own chunk waits"
        assert not waiting or min(at[replica] for replica in replicas) > 0, "it could help"
        done = in_flight.pop(chance.randrange(len(in_flight)))
        scheduler.complete(done)
        answered.append(done.chunk.index)
    assert sorted(answered) == list(range(num_sets))


def test_those_of_the_same_candidates_follow_each_other() -> None:
    chunks = split_question(5, 2, ["a", "b"])
    assert [(chunk.start, chunk.stop, chunk.block) for chunk in chunks] == [
        (start, stop, block) for start, stop in ((0, 2), (2, 4), (4, 5)) for block in (0, 1)
    ]
    assert [chunk.index for chunk in chunks] == list(range(6))


@given(num_sets=st.integers(1, 60), num_replicas=st.integers(1, 9))
def test_each_replica_is_the_home_of_its_share_and_all_clients_agree(
    num_sets: int, num_replicas: int
) -> None:
    keys = [f"set {index}" for index in range(num_sets)]
    replicas = [f"r{index}" for index in range(num_replicas)]
    homes = homes_of(keys, replicas)
    assert homes == homes_of(keys, replicas[::-1])
    counts = Counter(homes.values())
    assert max(counts.values()) <= -(-num_sets // num_replicas)
    assert list(homes) == keys
