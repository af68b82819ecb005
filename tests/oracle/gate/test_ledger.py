"""The bill and the store as files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from craft_ray.errors import ArtifactError, BudgetError, RunFailedError
from craft_ray.oracle.endpoints.capabilities import Price
from craft_ray.oracle.endpoints.wire import Units
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill import BilledUnits
from craft_ray.oracle.gate.bill_ledger import BillLedger
from tests.oracle.gate.dialogues import requests

ONE = BilledUnits(1, texts=2)
PRICES = (Price("text", 0.5),)
ANSWER = np.arange(3, dtype=np.float32)


def ledger(folder: Path, run: str = "run", max_cost: float | None = None) -> BillLedger:
    return BillLedger(folder / "bill.db", run, PRICES, max_cost)


def test_keys_are_of_the_run_and_of_what_is_sent(tmp_path: Path) -> None:
    one, other = requests(2)
    with ledger(tmp_path) as bill:
        key = bill.key_of(one)
        assert key != bill.key_of(other)
    with ledger(tmp_path) as again:
        assert again.key_of(requests(1)[0]) == key
    with ledger(tmp_path, run="another") as bill:
        assert bill.key_of(one) != key


def test_what_a_dead_process_left(tmp_path: Path) -> None:
    dead = ledger(tmp_path)
    dead.authorise("never sent", ONE)
    dead.sent(dead.authorise("sent", ONE))
    answered = dead.authorise("answered", ONE)
    dead.sent(answered)
    dead.answered(answered, Units(), [(b"content", ANSWER)])
    with ledger(tmp_path, max_cost=3.0) as bill, AnswerStore(tmp_path / "answers.db") as store:
        total = bill.total()
        assert (total.cost_answered, total.cost_possibly) == (1.0, 1.0)
        assert (total.answered.requests, total.possibly.requests) == (1, 1)
        bill.deliver(store)
        np.testing.assert_array_equal(store.find([b"content"])[b"content"], ANSWER)
        bill.authorise("next", ONE)
        with pytest.raises(BudgetError):
            bill.authorise("one more", ONE)
    dead.close()


def test_what_is_refused_is_given_back(tmp_path: Path) -> None:
    with ledger(tmp_path, max_cost=1.0) as bill:
        refused = bill.authorise("key", ONE)
        bill.sent(refused)
        bill.refused(refused)
        assert bill.authorise("key", ONE).attempt == 2
        assert (bill.total().refused, bill.total().cost) == (1, 0)


def test_a_replay_is_charged_once_and_resolves_what_was_unknown(tmp_path: Path) -> None:
    with ledger(tmp_path) as bill:
        for _ in range(3):
            lost = bill.authorise("key", ONE)
            bill.sent(lost)
            bill.unknown(lost)
        assert bill.total().cost_possibly == 3.0
        for _ in range(2):  # also where the answer was forgotten and is asked for again
            found = bill.authorise("key", ONE)
            bill.sent(found)
            bill.answered(found, Units(), [], was_replayed=True)
            total = bill.total()
            assert (total.cost_answered, total.cost_possibly) == (1.0, 0.0)
    with ledger(tmp_path, max_cost=2.0) as bill:
        bill.authorise("other", ONE)


def test_what_another_process_has_given_back_is_not_sent(tmp_path: Path) -> None:
    with ledger(tmp_path) as cut_off:
        authorised, sent = cut_off.authorise("not sent yet", ONE), cut_off.authorise("sent", ONE)
        cut_off.sent(sent)
        with ledger(tmp_path) as resumed:
            with pytest.raises(RunFailedError, match="another process"):
                cut_off.sent(authorised)
            assert resumed.total().possibly.requests == 1
            cut_off.answered(sent, Units(), [])
            assert (resumed.total().cost_answered, resumed.total().cost) == (1.0, 1.0)


def test_a_run_that_was_begun_without_prices_pays_for_its_beginning(tmp_path: Path) -> None:
    with BillLedger(tmp_path / "bill.db", "run") as bill:
        for key, tokens in (("one", 7), ("two", None), ("three", None)):
            sent = bill.authorise(key, ONE)
            bill.sent(sent)
            if key == "three":
                bill.unknown(sent)
            else:
                bill.answered(sent, Units(tokens=tokens), [])
        assert bill.total().cost == 0
    prices = (Price("text", 0.5), Price("token", 0.1))
    with BillLedger(tmp_path / "bill.db", "run", prices, max_cost=4.6) as bill:
        total = bill.total()
        assert (total.cost_answered, total.cost_possibly) == (2.7, 1.0)
        assert total.answered.tokens == 7
        with pytest.raises(BudgetError, match=r"2\.7000 USD is spent, 1\.0000 USD possibly"):
            bill.authorise("four", ONE)
    with ledger(tmp_path, max_cost=10.0) as bill:  # what had a price keeps it
        assert bill.total().cost == 3.7


def test_tokens_beyond_what_was_expected_are_expected_of_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = BilledUnits(1, images=10, tokens=100)
    with BillLedger(tmp_path / "bill.db", "run", (Price("token", 0.01),), max_cost=10.0) as bill:
        under_way = [bill.authorise(f"{number}", images) for number in range(3)]
        for sent in under_way:
            bill.sent(sent)
            bill.answered(sent, Units(tokens=250), [])
        bill.authorise("the last", images)
        with pytest.raises(BudgetError, match=r"may cost 2\.5000 USD"):
            bill.authorise("one more", images)
        assert bill.total().cost_answered == 7.5
        assert bill.authorise("texts", BilledUnits(1, texts=1, tokens=0)).cost == 0
    assert caplog.text.count("counts 250 tokens for 10 images in 1 request, of which 100 were") == 1
    assert "oracle.tokens_per_image" in caplog.text


def test_a_bill_has_room_for_money_that_is_worth_little(tmp_path: Path) -> None:
    with BillLedger(tmp_path / "bill.db", "run", (Price("image", 20_000, "IDR"),), 8e8) as bill:
        for number in range(8):
            sent = bill.authorise(f"{number}", BilledUnits(1, images=5_000))
            bill.sent(sent)
            bill.answered(sent, Units(), [])
        assert bill.total().cost == 8e8
        with pytest.raises(BudgetError, match="800,000,000"):
            bill.authorise("more", BilledUnits(1, images=1))


def test_an_answer_is_kept_with_its_state_or_not_at_all(tmp_path: Path) -> None:
    with ledger(tmp_path) as bill, AnswerStore(tmp_path / "answers.db") as store:
        sent = bill.authorise("key", ONE)
        bill.sent(sent)
        with pytest.raises(RunFailedError):
            bill.answered(sent, Units(), [(b"kept?", ANSWER), (None, ANSWER)])  # type: ignore[list-item]
        bill.deliver(store)
        assert not store.find([b"kept?"])
        assert bill.total().possibly.requests == 1


def test_what_is_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bill.db"
    path.write_text("notes of mine" * 100)
    with pytest.raises(ArtifactError, match=r"bill\.db: must be a bill"):
        ledger(tmp_path)
    assert path.read_text() == "notes of mine" * 100


def test_a_full_disk_is_said_and_what_was_written_before_stands(tmp_path: Path) -> None:
    """A transaction that meets a full disk is rolled back by SQLite itself."""
    with ledger(tmp_path) as bill:
        sent = bill.authorise("key", ONE)
        bill.sent(sent)
        database = bill._database._connection
        [(pages,)] = database.execute("PRAGMA page_count").fetchall()
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        large = np.zeros(100_000)
        with pytest.raises(RunFailedError, match=r"must be writable, but: .*full"):
            bill.answered(sent, Units(), [(b"content", large)])
        assert (bill.total().possibly.requests, bill.total().cost) == (1, 1.0)
        database.execute("PRAGMA max_page_count = 100000")
        bill.answered(sent, Units(), [(b"content", large)])
        assert bill.total().answered.requests == 1


def test_a_file_of_another_version_is_told_from_one_that_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craft_ray.files.database.LOCK_TIMEOUT_S", 0.1)
    with AnswerStore(tmp_path / "answers.db") as store:
        other = sqlite3.connect(tmp_path / "answers.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunFailedError, match="must be writable, but: database is locked"):
            store.find([b"content"])
        with pytest.raises(RunFailedError, match="must be writable, but: database is locked"):
            store.keep([(b"content", ANSWER)])
        other.execute("ROLLBACK")
        store.keep([(b"content", ANSWER)])
        other.execute("ALTER TABLE answers RENAME COLUMN content TO digest")
        other.close()
        for use in (lambda: store.find([b"content"]), lambda: store.keep([(b"more", ANSWER)])):
            with pytest.raises(ArtifactError, match=r"must be a store of answers, but: .*content"):
                use()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFailedError, match="must be writable"):
        AnswerStore(tmp_path / "file" / "answers.db")


def test_the_store_finds_what_it_keeps_and_the_first_stays(tmp_path: Path) -> None:
    with AnswerStore(tmp_path / "answers.db") as store:
        store.keep([(b"%d" % number, ANSWER + number) for number in range(1200)])
        store.keep([(b"7", ANSWER), (b"empty", np.zeros((0, 3), dtype=np.float64))])
        keys = [b"%d" % number for number in range(1300)]
        assert store.find([*keys, *keys]).keys() == {b"%d" % number for number in range(1200)}
        np.testing.assert_array_equal(store.find([b"7"])[b"7"], ANSWER + 7)
        assert store.find([b"empty"])[b"empty"].shape == (0, 3)
        assert store.find([]) == {}


def test_the_oldest_go_where_the_store_is_full(tmp_path: Path) -> None:
    large = np.zeros(1000, dtype=np.float64)
    path = tmp_path / "answers.db"
    with AnswerStore(path, max_bytes=100_000) as store:
        for number in range(100):
            store.keep([(b"%d" % number, large + number)])
        left = sorted(int(key) for key in store.find([b"%d" % number for number in range(100)]))
        assert left == list(range(100 - len(left), 100))
        assert 9 <= len(left) <= 12
    assert path.stat().st_size < 200_000
