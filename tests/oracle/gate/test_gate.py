"""The gate against a model behind real sockets, with one thing going wrong at a time."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from craft_ray.errors import BudgetError, EndpointUnavailableError, OracleError, RunFailedError
from craft_ray.oracle.endpoints.capabilities import Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.wire import Reply, Request
from tests.oracle.gate.conftest import Worlds
from tests.oracle.gate.dialogues import (
    KEY,
    Answered,
    Dialogue,
    answers_of,
    check,
    content,
    keys_of,
    requests,
)
from tests.support.fault_proxy import PASSING, Fault, feature


def test_answers_are_given_kept_and_billed(world: Worlds) -> None:
    here = world()
    asked = requests(12)
    with here.gate() as (gate, bill, store):
        check(asked, answers_of(gate, asked))
        total = bill.total()
        kept = store.find(keys_of(asked))
    assert (total.answered.requests, total.answered.texts) == (12, 24)
    assert total.answered.told.tokens == 72
    assert total.cost_answered == pytest.approx(12 * 0.01 + 24 * 0.001)
    assert (total.possibly.requests, total.refused) == (0, 0)
    assert len(kept) == 24
    np.testing.assert_array_equal(kept[content("text 3-1")], feature("text 3-1"))
    assert {sent[1] for sent in here.proxy.received} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("is_idempotent", [False, True])
@pytest.mark.parametrize("fault", PASSING)
def test_after_a_fault_it_is_asked_again_with_the_same_key(
    world: Worlds, fault: Fault, is_idempotent: bool
) -> None:
    here = world([fault], is_idempotent=is_idempotent)
    asked = requests(1)
    with here.gate() as (gate, bill, _):
        check(asked, answers_of(gate, asked))
        total = bill.total()
    keys = {key for key, *_ in here.proxy.received}
    assert len(keys) == 1
    assert len(here.proxy.received) == (1 if fault == "twice" else 2)
    may_be_billed = fault in ("503", "slow", "reset before", "reset after", "half", "garbage")
    was_answered = fault in ("slow", "reset after", "half", "garbage")
    is_resolved = is_idempotent and was_answered  # the second was a replay
    assert total.possibly.requests == (1 if may_be_billed and not is_resolved else 0)
    assert total.answered.requests == 1
    assert total.refused == (1 if fault.startswith("429") else 0)
    billed = sum(here.model.billed.values())
    assert 1 <= billed <= total.answered.requests + total.possibly.requests


def test_a_reply_that_comes_twice_is_not_the_answer_to_the_next(world: Worlds) -> None:
    here = world(["twice"] * 10)
    asked = requests(10)
    with here.gate(limits=Limits(concurrency=1)) as (gate, _, __):
        check(asked, answers_of(gate, asked))
    assert len(here.proxy.received) == 10


def test_a_refusal_stops_what_waits_and_keeps_what_is_answered(world: Worlds) -> None:
    here = world([None, None, "401"], delay_s=0.05)
    asked = requests(40)
    given: list[Request] = []
    with here.gate() as (gate, bill, store):
        with pytest.raises(OracleError, match=r"status 401.*the key is missing") as failed:
            given.extend(request for request, _ in gate.ask(asked, Dialogue()))
        total = bill.total()
        kept = store.find(keys_of(asked))
    assert KEY not in str(failed.value)
    assert len(here.proxy.received) < 20
    assert total.answered.requests == len(given) == sum(here.model.billed.values())
    assert len(kept) == 2 * len(given)
    assert (total.refused, total.possibly.requests) == (1, 0)


def test_a_request_that_is_too_large_goes_in_halves(world: Worlds) -> None:
    class Large(Dialogue):
        def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
            if len(request.part.texts) > 2:
                return Verdict("split", "no", "status 413")
            return super().classify(request, reply, now)

    here = world()
    with here.gate() as (gate, bill, _):
        answers = list(gate.ask(requests(1, texts=8), Large()))
        total = bill.total()
    texts = sorted(len(request.part.texts) for request, _ in answers)
    assert texts == [2, 2, 2, 2]
    assert (total.answered.requests, total.refused) == (4, 3)


def test_max_cost_is_never_exceeded_and_all_of_it_can_be_used(world: Worlds) -> None:
    here = world(delay_s=0.02)
    asked = requests(20)
    each = 0.01 + 2 * 0.001
    with here.gate(max_cost=7.5 * each) as (gate, bill, _):
        with pytest.raises(BudgetError, match=r"0\.0840 USD is spent, 0\.00 USD possibly") as no:
            answers_of(gate, asked)
        assert bill.total().cost == pytest.approx(7 * each)
    assert "--resume and a larger max_cost" in str(no.value)
    assert sum(here.model.billed.values()) == 7
    with here.gate(max_cost=1.0) as (gate, bill, store):
        kept = store.find(keys_of(asked))
        left = [request for request in asked if not set(keys_of([request])) <= kept.keys()]
        check(left, answers_of(gate, left))
        assert bill.total().answered.requests == 20
    assert sum(here.model.billed.values()) == 20


def test_while_the_store_takes_no_answers_none_is_paid_for_again(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    asked = requests(40)
    with here.gate() as (gate, bill, store):
        with monkeypatch.context() as patched:
            patched.setattr(store, "keep", no_room)
            for _ in range(3):
                with pytest.raises(RunFailedError, match="no room"):
                    answers_of(gate, asked)
            sent = len(here.proxy.received)
            assert sent < 20, "what cannot be kept is not asked for"
        check(asked, answers_of(gate, asked))
        assert len(store.find(keys_of(asked))) == 80
        total = bill.total()
    assert (total.answered.requests, total.possibly.requests) == (40, 0)
    assert set(here.model.billed.values()) == {1}
    assert sum(here.model.billed.values()) == 40


def no_room(entries: object) -> None:
    raise RunFailedError("no room")


def test_what_is_possibly_billed_counts_for_max_cost(world: Worlds) -> None:
    here = world(["reset after"] * 10)
    with here.gate(max_cost=3.5 * 0.012) as (gate, bill, _):
        with pytest.raises(BudgetError, match=r"0\.00 USD is spent, 0\.0360 USD possibly billed"):
            answers_of(gate, requests(1))
        assert bill.total().possibly.requests == 3
    assert sum(here.model.billed.values()) == 3


def test_an_endpoint_that_is_down_is_given_up(world: Worlds) -> None:
    here = world(["503"] * 1000)
    with here.gate(longest_wait_s=0.5) as (gate, _, __):
        started = time.monotonic()
        with pytest.raises(EndpointUnavailableError, match=r"not answered for 0\.5 s.*a resumed"):
            answers_of(gate, requests(30))
        assert 0.4 < time.monotonic() - started < 5
    assert len(here.proxy.received) < 30


def test_a_request_has_so_many_attempts_and_no_more(world: Worlds) -> None:
    here = world(["reset before"] * 4)
    with here.gate(max_attempts=3) as (gate, bill, _):
        with pytest.raises(EndpointUnavailableError, match="a request in 3 attempts"):
            answers_of(gate, requests(1))
        assert bill.total().possibly.requests == len(here.proxy.received) == 3


def test_a_wait_that_is_too_long_ends_the_run(world: Worlds) -> None:
    here = world(["429 seconds"] * 100, wait_s=60)
    with here.gate() as (gate, bill, _):
        with pytest.raises(EndpointUnavailableError, match=r"asks to wait 60 s.*longer than.*5"):
            answers_of(gate, requests(1))
        assert bill.total().cost == 0


def test_a_wait_holds_all_sending(world: Worlds) -> None:
    here = world(["429 seconds"], wait_s=0.4)
    with here.gate(limits=Limits(concurrency=1)) as (gate, _, __):
        before = gate.progress
        started = time.monotonic()
        answers_of(gate, requests(3))
        assert time.monotonic() - started > 0.38
        assert gate.progress > before + 6


def test_a_long_wait_is_logged(world: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    here = world(["429 seconds"] * 9, wait_s=6)
    caplog.set_level(logging.INFO)
    with here.gate(longest_wait_s=20) as (gate, _, __):

        def stopped() -> None:
            with pytest.raises(RunFailedError, match="the gate was closed"):
                answers_of(gate, requests(1))

        asking = threading.Thread(target=stopped)
        asking.start()
        while not here.proxy.received:
            time.sleep(0.01)
        time.sleep(0.2)
        gate.close()
        asking.join(5)
        assert not asking.is_alive()
    assert "the endpoint asks to wait 6 s" in caplog.text
    assert KEY not in caplog.text


def test_one_who_stops_listening_keeps_what_is_under_way(world: Worlds) -> None:
    here = world(delay_s=0.1)
    asked = requests(30)
    with here.gate() as (gate, bill, store):
        answers = gate.ask(asked, Dialogue())
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        sent = len(here.proxy.received)
        total = bill.total()
        assert len(store.find(keys_of(asked))) == 2 * total.answered.requests
        time.sleep(0.3)
        assert len(here.proxy.received) == sent < 15
    assert total.answered.requests == sent
    assert total.possibly.requests == 0


def test_two_threads_share_the_limits_and_what_is_under_way(world: Worlds) -> None:
    here = world(delay_s=0.03)
    asked = requests(12)
    with here.gate(limits=Limits(concurrency=3)) as (gate, bill, _):
        with ThreadPoolExecutor(2) as callers:
            both = [callers.submit(answers_of, gate, asked) for _ in range(2)]
            for answers in both:
                check(asked, answers.result())
        assert bill.total().answered.requests == sum(here.model.billed.values())
    assert here.model.most_at_once <= 3


def test_what_another_caller_has_asked_just_before_is_not_sent_again(world: Worlds) -> None:
    here = world()
    asked = requests(5)
    with here.gate() as (gate, bill, _):
        for _ in range(2):
            check(asked, answers_of(gate, asked))
        assert bill.total().answered.requests == len(here.proxy.received) == 5


def test_a_host_that_does_not_exist_is_said_at_once(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    here = world()
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    here.url = "http://no-such-host.invalid"
    with here.gate() as (gate, bill, _):
        with pytest.raises(OracleError, match=r"no such host: look at oracle\.url"):
            answers_of(gate, requests(2))
        assert bill.total().cost == 0


def test_a_mistake_in_the_dialogue_is_possibly_billed(world: Worlds) -> None:
    class Wrong(Dialogue):
        def decode(self, request: Request, reply: Reply) -> Answered:
            raise ZeroDivisionError

    here = world()
    with here.gate() as (gate, bill, _):
        with pytest.raises(ZeroDivisionError):
            list(gate.ask(requests(1), Wrong()))
        assert bill.total().possibly.requests == 1
        check(requests(2), answers_of(gate, requests(2)))


def test_a_reply_that_is_too_large_is_not_asked_for_again(world: Worlds) -> None:
    here = world()
    with here.gate(max_reply_bytes=20) as (gate, bill, _):
        with pytest.raises(OracleError, match="larger than 20 bytes"):
            answers_of(gate, requests(1))
        assert bill.total().possibly.requests == 1
    assert len(here.proxy.received) == 1


def test_tokens_are_bounded_before_and_billed_as_told(world: Worlds) -> None:
    here = world()
    (request,) = requests(1)
    bound = len(request.body) + 4
    prices = (Price("token", 0.001),)
    with here.gate(prices=prices, max_cost=0.001 * (bound - 1)) as (gate, bill, _):
        with pytest.raises(BudgetError):
            answers_of(gate, [request])
        assert not here.proxy.received
    with here.gate(prices=prices, max_cost=0.001 * bound) as (gate, bill, _):
        answers_of(gate, [request])
        total = bill.total()
    assert (total.answered.tokens, total.cost) == (6, 0.006)


def test_nobody_there_costs_nothing(world: Worlds) -> None:
    here = world()
    here.url = "http://127.0.0.1:9"
    with here.gate(longest_wait_s=0.3) as (gate, bill, _):
        with pytest.raises(EndpointUnavailableError, match="ConnectError"):
            answers_of(gate, requests(2))
        total = bill.total()
    assert (total.cost, total.possibly.requests) == (0, 0)
    assert total.refused > 0


def test_the_key_is_in_no_file_and_no_error(
    world: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    here = world([*PASSING, "401"])
    with here.gate(max_attempts=30) as (gate, _, __):
        with pytest.raises(OracleError) as failed:
            answers_of(gate, requests(20))
        error: BaseException | None = failed.value
        while error is not None:
            assert KEY not in repr(error) + repr(vars(error))
            error = error.__cause__ or error.__context__
        assert KEY not in repr(gate) + repr(vars(gate))
    assert KEY not in caplog.text
    for file in here.folder.glob("*"):
        assert KEY.encode() not in file.read_bytes()
    with sqlite3.connect(here.folder / "bill.db") as bill:
        assert KEY not in "".join(bill.iterdump())
