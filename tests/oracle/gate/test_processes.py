"""Processes that are killed while they ask, and processes that share a store."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from tests.oracle.gate.asker import left_of
from tests.oracle.gate.conftest import Worlds
from tests.oracle.gate.dialogues import PRICES, content, keys_of, requests
from tests.support.fault_proxy import feature

pytestmark = pytest.mark.slow
NUMBER = 30


def asker(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.oracle.gate.asker", *map(str, words)]
    return subprocess.Popen(command)


def bodies(received: Sequence[tuple[str, str, bytes, bool]]) -> list[bytes]:
    return [body for _, _, body, _ in received]


@pytest.mark.parametrize("is_idempotent", [False, True])
def test_kill_minus_9_loses_no_answer_and_asks_for_none_again(
    world: Worlds, is_idempotent: bool
) -> None:
    here = world(is_idempotent=is_idempotent, delay_s=0.05)
    asked = requests(NUMBER)
    received, model = here.proxy.received, here.model
    folder: Path = here.folder
    by_chance = random.Random(7)
    left, sent_until_kept = asked, dict[bytes, int]()
    kills = 0
    while left:
        assert kills < 30
        with asker(folder, here.url, NUMBER) as process:
            before = len(received)
            while process.poll() is None and len(received) < before + 4:
                time.sleep(0.005)
            time.sleep(by_chance.uniform(0.0, 0.25))
            process.kill()
            kills += 1
        time.sleep(0.1)  # the model ends what it was asked
        with (
            BillLedger(folder / "bill.db", folder.name, PRICES) as bill,
            AnswerStore(folder / "answers.db") as store,
        ):
            bill.deliver(store)
            left = left_of(asked, store)
            total = bill.total()
            # What is kept is answered, and what is answered is kept.
            assert total.answered.requests == NUMBER - len(left)
            billed = sum(model.billed.values())
            assert total.answered.requests <= billed
            assert billed <= total.answered.requests + total.possibly.requests
        kept = {one.body for one in asked} - {one.body for one in left}
        sent = Counter(bodies(received))
        assert all(sent[body] == number for body, number in sent_until_kept.items())
        sent_until_kept = {body: sent[body] for body in kept}
    assert kills > 2
    keys = {body: {key for key, _, sent, _ in received if sent == body} for body in kept}
    assert all(len(of_body) == 1 for of_body in keys.values())
    if is_idempotent:
        assert set(model.billed.values()) == {1}


def test_two_processes_share_a_store(world: Worlds, tmp_path: Path) -> None:
    here = world(delay_s=0.01)
    shared = tmp_path / "shared.db"
    folders = [tmp_path / "one", tmp_path / "other"]
    processes = [asker(folder, here.url, NUMBER, shared) for folder in folders]
    assert [process.wait(60) for process in processes] == [0, 0]
    asked = requests(NUMBER)
    with AnswerStore(shared) as store:
        kept = store.find(keys_of(asked))
    assert len(kept) == 2 * NUMBER
    assert kept[content("text 5-0")].tolist() == feature("text 5-0")
    before = len(here.proxy.received)
    with asker(tmp_path / "third", here.url, NUMBER, shared) as process:
        assert process.wait(60) == 0
    assert len(here.proxy.received) == before  # all of it was paid for by others
