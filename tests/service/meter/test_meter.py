"""What an ingress relies on, one law a test; all of them at once in test_laws.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from craft_ray.service.meter.meter import HOUR_S, TOLD_AGAIN_S, Meter
from craft_ray.service.meter.terms import LOCAL_KEY, Admitted, Asked, Refusal, Replayed
from tests.service.meter.world import NOW, OTHER_BODY, add_key, asked, begun, meter_of, stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


def code_of(found: object) -> tuple[int, str]:
    assert isinstance(found, Refusal), found
    return found.status, found.code


def test_who_may_ask(path: Path) -> None:
    key, token = add_key(path)
    with meter_of(path) as meter:
        admitted = meter.admit(token, "predict", NOW)
        assert admitted == Admitted(key.caller)
        assert meter.admit(token, None, NOW) == admitted
        for wrong in (None, "", token[:-1], token.replace(key.key_id, "00000000")):
            assert code_of(meter.admit(wrong, None, NOW)) == (401, "unknown_key")
        refused = meter.begin(token, "tune", asked(), NOW)
        assert code_of(refused) == (403, "no_scope")
        assert isinstance(refused, Refusal)
        assert refused.caller == key.caller
        assert "predict, score" in refused.detail


def test_a_token_is_nowhere_in_the_file(path: Path) -> None:
    _, token = add_key(path)
    with meter_of(path) as meter:
        begun(meter, token, asked())
    assert token.encode() not in path.read_bytes()
    assert token[-43:].encode() not in path.read_bytes()


def test_requests_a_minute(path: Path) -> None:
    _, token = add_key(path, per_minute=2)
    with meter_of(path) as meter:
        first = begun(meter, token, asked("one", attempt="lost"))
        assert first.rate is not None
        assert first.rate.remaining == 1
        assert isinstance(meter.admit(token, "score", NOW), Admitted)
        refused = meter.begin(token, "predict", asked("two"), NOW)
        assert code_of(refused) == (429, "too_many_requests")
        assert isinstance(refused, Refusal)
        assert refused.rate is not None
        assert refused.rate.remaining == 0
        assert refused.retry_after_s == pytest.approx(60 - NOW % 60)
        again = begun(meter, token, asked("one", attempt="lost"))  # its reply was lost
        assert again.request_id == first.request_id
        assert isinstance(meter.admit(token, "score", NOW + 60), Admitted)


def test_a_quota_is_of_a_period_and_a_charge_of_that_in_which_it_began(path: Path) -> None:
    key, token = add_key(path, pairs=20, period_s=100.0)
    with meter_of(path) as meter:
        one = begun(meter, token, asked("one", 15))
        assert one.balance.remaining == 5
        assert code_of(meter.begin(token, "predict", asked("two", 6), NOW)) == (
            403,
            "quota_exhausted",
        )
        begun(meter, token, asked("two", 20), NOW + 100)
        assert meter.settle(one.request_id, 10, stored(one), NOW + 100).remaining == 0
        assert meter.usage(key.key_id, NOW).balance.remaining == 10
        usage = meter.usage(key.key_id, NOW)
        assert (usage.requests, usage.by_route, usage.period_ends) == (
            1,
            {"predict": 10},
            NOW + 100,
        )


def test_settled_pairs_are_never_more_than_reserved(path: Path) -> None:
    _, token = add_key(path)
    with meter_of(path) as meter:
        one = begun(meter, token, asked(pairs=5))
        for pairs in (6, -1):
            with pytest.raises(ValueError, match="0 <= pairs <= reserved"):
                meter.settle(one.request_id, pairs, None, NOW)
        with pytest.raises(ValueError, match="0 <= pairs <="):
            meter.begin(token, "predict", asked("two", -1), NOW)
        with pytest.raises(ValueError, match="request_id must be one"):
            meter.settle("nothing", 1, None, NOW)


def test_an_answer_is_kept_for_its_key_route_and_body(path: Path) -> None:
    _, token = add_key(path)
    _, other = add_key(path, "Bob")
    with meter_of(path) as meter:
        one = begun(meter, token, asked(attempt="1"))
        assert code_of(meter.begin(token, "predict", asked(attempt="2"), NOW)) == (
            409,
            "still_running",
        )
        assert begun(meter, token, asked(attempt="1")).request_id == one.request_id
        meter.settle(one.request_id, 7, stored(one), NOW)
        replayed = meter.begin(token, "predict", asked(), NOW)
        assert isinstance(replayed, Replayed)
        assert replayed.answer == stored(one, 7)
        assert replayed.balance.spent == 7
        found = meter.begin(token, "predict", asked(body=OTHER_BODY), NOW)
        assert code_of(found) == (422, "another_body")
        begun(meter, other, asked(body=OTHER_BODY))
        begun(meter, token, Asked("score", 1, "one", OTHER_BODY, "ingress"))


def test_a_dead_holder_gives_back_what_it_reserved(path: Path) -> None:
    key, token = add_key(path, pairs=10)
    with meter_of(path) as meter:
        lost = begun(meter, token, asked())
        meter.alive("ingress", NOW + 9)
        assert meter.balance(key.key_id, NOW + 18).spent == 10
        assert meter.balance(key.key_id, NOW + 20).spent == 0
        again = begun(meter, token, asked(body=OTHER_BODY, holder="another"), NOW + 20)
        assert again.request_id != lost.request_id
        # The first was only slow; its answer comes when it is another's turn.
        assert meter.settle(lost.request_id, 10, stored(lost), NOW + 21).spent == 10
        meter.settle(again.request_id, 4, stored(again), NOW + 22)
        assert meter.usage(key.key_id, NOW + 22).by_route == {"predict": 4}


def test_an_answer_that_comes_after_all_is_charged_as_far_as_the_quota_allows(path: Path) -> None:
    key, token = add_key(path, pairs=10)
    with meter_of(path) as meter:
        lost = begun(meter, token, asked("one"))
        begun(meter, token, asked("two", 7, holder="another"), NOW + 11)
        assert meter.settle(lost.request_id, 10, stored(lost), NOW + 12).spent == 10
        replayed = meter.begin(token, "predict", asked("one"), NOW + 13)
        assert isinstance(replayed, Replayed)
        assert replayed.answer.pairs == 3
        assert meter.usage(key.key_id, NOW + 13).by_route == {"predict": 3}


def test_what_a_holder_has_not_heard_the_end_of_is_refunded(path: Path) -> None:
    key, token = add_key(path)
    with meter_of(path) as meter:
        begun(meter, token, asked("one", attempt="1"))
        begun(meter, token, asked("two", attempt="2"))
        meter.alive("ingress", NOW, given_up=["1", "never came"])
        assert meter.balance(key.key_id, NOW).spent == 10
        begun(meter, token, asked("one", attempt="3"))


def test_a_tuning_finds_its_reservation_and_its_end(path: Path) -> None:
    key, _ = add_key(path, pairs=100)
    job = Asked("tune", 90, "job", "body")
    with meter_of(path) as meter:
        first = meter.begin_for(key.key_id, job, NOW)
    with meter_of(path, NOW + 5000) as meter:
        assert meter.begin_for(key.key_id, job, NOW + 5000) == first
        assert not isinstance(first, Refusal | Replayed)
        meter.settle(first.request_id, 40, None, NOW + 5000)
        done = meter.begin_for(key.key_id, job, NOW + 5000)
        assert isinstance(done, Replayed)
        assert (done.answer.file, done.answer.pairs, done.balance.spent) == ("", 40, 40)
        assert code_of(meter.begin_for("00000000", job, NOW)) == (401, "unknown_key")


def test_a_caller_without_keys_has_all_but_a_quota(path: Path) -> None:
    with meter_of(path, needs_keys=False) as meter:
        one = begun(meter, None, asked())
        assert one.caller.key_id == LOCAL_KEY
        meter.settle(one.request_id, 5, stored(one), NOW)
        assert isinstance(meter.begin(None, "predict", asked(), NOW), Replayed)
        assert all(isinstance(meter.admit(None, s, NOW), Admitted) for s in ("tune", "features"))
    with meter_of(path, needs_keys=False) as meter:
        usage = meter.usage(LOCAL_KEY, NOW)
        assert (usage.by_route, usage.balance.quota) == ({"predict": 5}, None)


def test_old_answers_are_told_until_that_is_heard_and_then_forgotten(path: Path) -> None:
    key, token = add_key(path)
    day = NOW + 25 * HOUR_S
    with meter_of(path) as meter:
        old = begun(meter, token, asked("old"))
        meter.settle(old.request_id, 5, stored(old), NOW)
        refunded = begun(meter, token, asked("refunded"))
        meter.refund(refunded.request_id, NOW)
        young = begun(meter, token, asked("young"), day - HOUR_S)
        meter.settle(young.request_id, 5, stored(young), day - HOUR_S)
        assert meter.forget_old(day) == [old.request_id]
        assert meter.forget_old(day + 30) == [old.request_id]
        assert rows(meter) == 2
        assert meter.forget_old(day + TOLD_AGAIN_S) == []
        assert rows(meter) == 1
        assert isinstance(meter.begin(token, "predict", asked("young"), day), Replayed)
        assert meter.usage(key.key_id, day).by_route == {"predict": 10}


def test_an_old_answer_that_is_asked_for_anew_is_still_told(path: Path) -> None:
    _, token = add_key(path)
    day = NOW + 25 * HOUR_S
    with meter_of(path) as meter:
        old = begun(meter, token, asked())
        meter.settle(old.request_id, 5, stored(old), NOW)
        new = begun(meter, token, asked(body=OTHER_BODY), day)
        assert new.request_id != old.request_id
        assert meter.forget_old(day) == [old.request_id]


def rows(meter: Meter) -> int:
    [(number,)] = meter._database.read("SELECT count(*) FROM requests")
    return int(number)


def test_threads_never_exceed_a_quota_together(path: Path) -> None:
    key, token = add_key(path, pairs=50)
    found = []
    with meter_of(path) as meter:
        start = threading.Barrier(8)

        def ask(thread: int) -> None:
            start.wait()
            for number in range(4):
                found.append(meter.begin(token, "predict", asked(f"{thread} {number}", 3), NOW))

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert meter.balance(key.key_id, NOW).spent == 48
    assert sum(isinstance(each, Refusal) for each in found) == 16
