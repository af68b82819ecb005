"""The gate against a model behind real sockets, with one thing going wrong at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.oracle.endpoints.wire import Request
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from tests.oracle.gate.dialogues import (
    Answered,
    Dialogue,
    content,
    requests,
    settings,
    texts_of,
)
from tests.support.fault_proxy import (
    PASSING,
    Fault,
    FaultProxy,
    ModelServer,
    feature,
    scripted,
    serving,
)


class World:
    """A model, a proxy, a run's folder."""

    def __init__(self, folder: Path, proxy: FaultProxy, url: str) -> None:
        self.folder, self.proxy, self.url = folder, proxy, url
        self.model = proxy.model

    @contextmanager
    def gate(self, **given: Any) -> Iterator[tuple[Gate, BillLedger, AnswerStore]]:
        chosen = settings(self.url, **given)
        with (
            BillLedger(self.folder / "bill.db", "run", chosen.prices, chosen.max_cost) as bill,
            AnswerStore(self.folder / "answers.db") as answers,
            Gate(chosen, bill, answers) as gate,
        ):
            yield gate, bill, answers


Worlds = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Worlds]:
    closing = []

    def make(
        faults: Sequence[Fault | None] = (), is_idempotent: bool = False, **given: Any
    ) -> World:
        proxy = FaultProxy(ModelServer(is_idempotent=is_idempotent), scripted(faults), **given)
        server = serving(proxy)
        url = server.__enter__()
        closing.append(server)
        return World(tmp_path, proxy, url)

    yield make
    for server in closing:
        server.__exit__(None, None, None)


def answers_of(gate: Gate, asked: Sequence[Request]) -> list[tuple[Request, Answered]]:
    return list(gate.ask(asked, Dialogue()))


def check(asked: Sequence[Request], answers: Sequence[tuple[Request, Answered]]) -> None:
    """Each request has its answer, once."""
    assert sorted(request.body for request, _ in answers) == sorted(r.body for r in asked)
    for request, (features, _) in answers:
        np.testing.assert_array_equal(features, [feature(text) for text in texts_of(request)])


def test_answers_are_given_kept_and_billed(world: Worlds) -> None:
    here = world()
    asked = requests(12)
    with here.gate() as (gate, bill, store):
        check(asked, answers_of(gate, asked))
        total = bill.total()
        kept = store.find([content(text) for request in asked for text in texts_of(request)])
    assert (total.answered.requests, total.answered.texts) == (12, 24)
    assert total.answered.told.tokens == 72
    assert total.cost_answered == pytest.approx(12 * 0.01 + 24 * 0.001)
    assert (total.possibly.requests, total.refused) == (0, 0)
    assert len(kept) == 24
    np.testing.assert_array_equal(kept[content("text 3-1")], feature("text 3-1"))


@pytest.mark.parametrize("is_idempotent", [False, True])
@pytest.mark.parametrize("fault", PASSING)
def test_after_a_fault_it_is_asked_again_with_the_same_key(
    world: Worlds, fault: Fault, is_idempotent: bool
) -> None:
    here = world([fault], is_idempotent)
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
