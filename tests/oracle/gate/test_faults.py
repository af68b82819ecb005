"""Any faults in any order: the answers are those of the undisturbed run, and the bill is right."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from craft_ray.errors import BudgetError
from craft_ray.oracle.endpoints.wire import Request
from tests.oracle.gate.dialogues import (
    PRICES,
    Answered,
    Dialogue,
    Features,
    World,
    check,
    content,
    keys_of,
    requests,
    texts_of,
)
from tests.support.fault_proxy import PASSING, Fault, FaultProxy, ModelServer, scripted, serving

MAX_ATTEMPTS = 30
"""More than there are faults, so that each run comes to its end."""
EACH = PRICES[0].amount * 2 + PRICES[1].amount

faults = st.lists(st.sampled_from([None, *PASSING]), max_size=20)
few = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@few
@given(script=faults, number=st.integers(1, 12), is_idempotent=st.booleans())
def test_answers_and_bill_are_those_of_the_undisturbed_run(
    script: list[Fault | None], number: int, is_idempotent: bool
) -> None:
    asked = requests(number)
    proxy = FaultProxy(ModelServer(is_idempotent=is_idempotent), scripted(script), slow_s=0.25)
    with tempfile.TemporaryDirectory() as folder, serving(proxy) as url:
        here = World(Path(folder), proxy, url)
        with here.gate(timeout_s=0.2, max_attempts=MAX_ATTEMPTS) as (gate, bill, store):
            check(asked, list(gate.ask(asked, Dialogue())))
            total = bill.total()
            assert len(store.find(keys_of(asked))) == 2 * number
    billed = sum(proxy.model.billed.values())
    assert total.answered.requests == number
    assert total.cost_answered == pytest.approx(number * EACH)
    assert number <= billed <= number + total.possibly.requests
    of_each = Counter(body for _, _, body, _ in proxy.received)
    assert max(of_each.values()) <= MAX_ATTEMPTS
    in_bill = total.answered.requests + total.possibly.requests + total.refused
    assert in_bill == len(proxy.received) or (is_idempotent and in_bill < len(proxy.received))
    keys = {body: {sent[0] for sent in proxy.received if sent[2] == body} for body in of_each}
    assert all(len(known) == 1 for known in keys.values())


class Noting(Dialogue):
    """Notes which requests are answered, and how often each was sent by then."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.sent: dict[bytes, int] = {}

    def entries(self, request: Request, answer: Answered) -> Sequence[tuple[bytes, Features]]:
        self.sent[request.body] = sum(sent[2] == request.body for sent in self.proxy.received)
        return super().entries(request, answer)


@few
@given(
    script=faults,
    allowed=st.integers(0, 25),
    is_idempotent=st.booleans(),
)
def test_money_is_never_exceeded_and_nothing_answered_is_sent_again(
    script: list[Fault | None], allowed: int, is_idempotent: bool
) -> None:
    asked = requests(8)
    proxy = FaultProxy(ModelServer(is_idempotent=is_idempotent), scripted(script), slow_s=0.25)
    noting = Noting(proxy)
    with tempfile.TemporaryDirectory() as folder, serving(proxy) as url:
        here = World(Path(folder), proxy, url)
        # The second is a resume with more money.
        for max_cost in (allowed * EACH, 1000.0):
            with here.gate(timeout_s=0.2, max_attempts=MAX_ATTEMPTS, max_cost=max_cost) as parts:
                gate, bill, store = parts
                kept = store.find(keys_of(asked))
                left = [one for one in asked if content(texts_of(one)[0]) not in kept]
                try:
                    check(left, list(gate.ask(left, noting)))
                    ended = False
                except BudgetError:
                    ended = True
                total = bill.total()
            billed = sum(proxy.model.billed.values())
            assert billed * EACH - 1e-9 <= total.cost <= max_cost + 1e-9
            assert total.answered.requests <= billed
        assert not ended
    for body, number in noting.sent.items():
        assert sum(sent[2] == body for sent in proxy.received) == number
