"""Whatever happens in whatever order, nobody is charged twice or beyond a quota."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from craft_ray.service.meter.holders import SILENCE_S
from craft_ray.service.meter.meter import Meter
from craft_ray.service.meter.terms import Begun, Refusal, Replayed
from tests.service.meter.world import BODY, NOW, OTHER_BODY, add_key, asked, revoke, stored

QUOTA, PERIOD_S = 30, 50.0
HOLDERS = st.sampled_from(["ingress 1", "ingress 2", "ingress 2", "ingress 1", ""])
NAMES = st.sampled_from(["one", "two"])
PAIRS = st.sampled_from([0, 7, 16, 30])


@dataclass
class Request:
    """What is known of it."""

    request_id: str
    pairs: int
    body: str
    holder: str
    attempt: str
    period: int
    state: str = "running"


class MeterLaws(RuleBasedStateMachine):
    """A meter beside a model of it that a reader can check."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "keys.db"
        self.now = NOW
        self.attempts = 0
        self.of_keys: dict[str, dict[int, int]] = {}
        self.new_key()
        self.meter = self.opened()

    def opened(self) -> Meter:
        meter = Meter(self.path, self.now, look_every_s=0.0)
        # These tests kill no machine.
        meter._database.write("PRAGMA synchronous=OFF")
        meter._database.read("PRAGMA journal_mode=MEMORY")
        self.heard = {
            each.holder: self.now for each in self.by_name.values() if each.state == "running"
        }
        return meter

    def new_key(self) -> None:
        self.key, self.token = add_key(
            self.path, f"key {len(self.of_keys)}", pairs=QUOTA, period_s=PERIOD_S
        )
        self.by_name: dict[str, Request] = {}
        self.former: list[Request] = []
        self.charged: dict[int, int] = {}
        self.of_keys[self.key.key_id] = self.charged

    def teardown(self) -> None:
        self.meter.close()
        self.folder.cleanup()

    @property
    def period(self) -> int:
        return int((self.now - NOW) // PERIOD_S)

    def spent(self, period: int) -> int:
        running = [
            each.pairs
            for each in self.by_name.values()
            if each.state == "running" and each.period == period
        ]
        return sum(running) + self.charged.get(period, 0)

    def lose(self) -> None:
        for each in self.by_name.values():
            silent = self.now - self.heard.get(each.holder, self.now) > SILENCE_S
            if each.state == "running" and each.holder and silent:
                each.state = "lost"

    def hear(self, holder: str) -> None:
        self.heard[holder] = self.now

    @initialize(pairs=PAIRS, seconds=st.sampled_from([0.0, 11.0]))
    def something_has_happened(self, pairs: int, seconds: float) -> None:
        self.begin("one", pairs, "ingress 1", BODY)
        self.now += seconds

    @rule(name=NAMES, pairs=PAIRS, holder=HOLDERS, body=st.sampled_from([BODY, BODY, OTHER_BODY]))
    def begin(self, name: str, pairs: int, holder: str, body: str) -> None:
        self.attempts += 1
        attempt = f"{self.attempts}"
        what = asked(name, pairs, body, holder, attempt)
        self.hear(holder)
        self.lose()
        left = QUOTA - self.spent(self.period)
        before = self.by_name.get(name)
        found = self.meter.begin(self.token, "predict", what, self.now)
        if before is not None and before.state in ("running", "answered"):
            if before.body != body:
                assert isinstance(found, Refusal)
                assert found.code == "another_body"
            elif before.state == "running":
                assert isinstance(found, Refusal)
                assert (found.code, found.retry_after_s) == ("still_running", 1.0)
            else:
                assert isinstance(found, Replayed)
                assert (found.answer.file, found.answer.pairs) == (before.request_id, before.pairs)
        elif pairs > left:
            assert isinstance(found, Refusal)
            assert (found.code, found.retry_after_s) == ("quota_exhausted", None)
        else:
            assert isinstance(found, Begun)
            if before is not None:
                self.former.append(before)
            self.by_name[name] = Request(
                found.request_id, pairs, body, holder, attempt, self.period
            )

    @rule(name=NAMES)
    def repeat_a_begin_whose_reply_was_lost(self, name: str) -> None:
        if (each := self.by_name.get(name)) is None:
            return
        self.hear(each.holder)
        self.lose()
        if each.state != "running":
            return
        what = asked(name, each.pairs, each.body, each.holder, each.attempt)
        found = self.meter.begin(self.token, "predict", what, self.now)
        assert isinstance(found, Begun)
        assert found.request_id == each.request_id

    @precondition(lambda self: any(each.state == "lost" for each in self.by_name.values()))
    @rule()
    def fill_the_quota_and_let_lost_answers_come(self) -> None:
        lost = [name for name, each in self.by_name.items() if each.state == "lost"]
        self.begin("another", max(0, QUOTA - self.spent(self.period) - 3), "ingress 2", BODY)
        for name in lost:
            self.settle(name, 1.0, 1)

    @precondition(lambda self: self.former)
    @rule()
    def settle_what_another_has_begun_anew(self) -> None:
        each = self.former.pop()
        self.meter.settle(each.request_id, each.pairs, None, self.now)

    @rule(name=NAMES, share=st.sampled_from([0.5, 1.0]), times=st.integers(1, 2))
    def settle(self, name: str, share: float, times: int) -> None:
        if (each := self.by_name.get(name)) is None:
            return
        pairs = int(each.pairs * share)
        left = QUOTA - self.spent(each.period)
        for _ in range(times):
            begun = Begun(each.request_id, self.key.caller, self.meter.balance(self.key.key_id, 0))
            self.meter.settle(each.request_id, pairs, stored(begun), self.now)
        if each.state == "answered":
            return
        each.pairs = pairs if each.state == "running" else min(pairs, left)
        each.state = "answered"
        self.charged[each.period] = self.charged.get(each.period, 0) + each.pairs

    @rule(name=NAMES, times=st.integers(1, 2))
    def refund(self, name: str, times: int) -> None:
        if (each := self.by_name.get(name)) is None:
            return
        for _ in range(times):
            self.meter.refund(each.request_id, self.now)
        if each.state != "answered":
            del self.by_name[name]

    @rule(holder=HOLDERS)
    def alive(self, holder: str) -> None:
        self.meter.alive(holder, self.now)
        self.hear(holder)
        self.lose()

    @rule(seconds=st.sampled_from([6.0, 11.0, 11.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.meter.close()
        self.meter = self.opened()

    @precondition(lambda self: len(self.of_keys) < 3)
    @rule()
    def revoke(self) -> None:
        revoke(self.path, self.key.key_id)
        found = self.meter.begin(self.token, "predict", asked("new"), self.now)
        assert isinstance(found, Refusal)
        assert found.code == "unknown_key"
        self.new_key()

    @invariant()
    def what_is_spent_is_what_was_asked_and_within_the_quota(self) -> None:
        balance = self.meter.balance(self.key.key_id, self.now)
        self.lose()
        assert balance.spent == self.spent(self.period) <= QUOTA
        assert all(self.spent(period) <= QUOTA for period in range(self.period + 1))
        for key_id, charged in self.of_keys.items():
            totals = self.meter._spending.totals(key_id)
            assert sum(each.pairs for each in totals) == sum(charged.values())


TestLaws = MeterLaws.TestCase
TestLaws.settings = settings(stateful_step_count=50)
