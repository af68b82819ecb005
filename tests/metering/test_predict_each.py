"""Several questions at once: each is a question of its own, on record when it is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from craft_ray.errors import BudgetError
from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import Purpose, QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from tests.support.fake_oracle import IMAGE_SIZE, FakeOracle
from tests.support.replicated_oracle import ReplicatedOracle

NUM_SETS = 5
TASK = ClassificationTask(("cat", "dog"))
HEAD: Purpose = "head"


def pixels_of(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (2 + seed, 3, IMAGE_SIZE, IMAGE_SIZE)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def asked_of(oracle: MeteredOracle, seeds: list[int]) -> tuple[TaskHandle, list[ImageHandle]]:
    handles = [oracle.register_images(pixels_of(seed)) for seed in seeds]
    return oracle.register_task(TASK), handles


def answers_of(oracle: MeteredOracle, seeds: list[int]) -> list[FloatArray]:
    task, handles = asked_of(oracle, seeds)
    return oracle.predict_each(task, [(each, HEAD) for each in handles], task.initial_context[None])


def expected(seeds: list[int]) -> list[FloatArray]:
    fake = FakeOracle()
    task = fake.register_task(TASK)
    handles = [fake.register_images(pixels_of(seed)) for seed in seeds]
    return [fake.predict(task, handle, task.initial_context[None]) for handle in handles]


@pytest.mark.parametrize("at_once", [1, 3, NUM_SETS])
def test_answers_come_in_order_and_are_counted_as_one_by_one(at_once: int) -> None:
    seeds = list(range(NUM_SETS))
    oracle = ReplicatedOracle(at_once)
    metered = MeteredOracle(oracle, QueryLedger(0))
    for answer, one in zip(answers_of(metered, seeds), expected(seeds), strict=True):
        np.testing.assert_array_equal(answer, one)
    assert oracle.most_under_way == at_once
    serial = MeteredOracle(FakeOracle(), QueryLedger(0))
    task, handles = asked_of(serial, seeds)
    for handle in handles:
        serial.predict(task, handle, task.initial_context[None], purpose=HEAD)
    assert metered.ledger.spent == serial.ledger.spent


def test_what_was_answered_beside_a_failure_is_on_record(tmp_path: Path) -> None:
    seeds = list(range(NUM_SETS))
    with QueryJournal(tmp_path / "queries.db") as journal:
        oracle = ReplicatedOracle(NUM_SETS)
        metered = MeteredOracle(oracle, QueryLedger(0), journal)
        _, handles = asked_of(metered, seeds)
        oracle.fails_on = frozenset({handles[3].digest, handles[1].digest})
        metered.begin_generation(1)
        with pytest.raises(RuntimeError, match=handles[1].digest[:8]):
            answers_of(metered, seeds)
        counted = metered.ledger.spent.head_predictions
        assert counted == sum(2 + seed for seed in (0, 2, 4))
        resumed_oracle = ReplicatedOracle(1)
        resumed = MeteredOracle(resumed_oracle, QueryLedger(0), journal)
        resumed.begin_generation(1)
        answers = answers_of(resumed, seeds)
    assert resumed_oracle.asked == [handles[1].digest, handles[3].digest]
    for answer, one in zip(answers, expected(seeds), strict=True):
        np.testing.assert_array_equal(answer, one)
    assert resumed.ledger.spent.head_predictions == sum(2 + seed for seed in seeds)


def test_equal_questions_are_asked_as_often_as_one_after_the_other(tmp_path: Path) -> None:
    seeds = [0, 1, 0, 0]
    for by_content, with_cache, num_asked in (
        (True, False, 2),
        (False, True, 2),
        (False, False, 4),
    ):
        folder = tmp_path / f"{by_content} {with_cache}"
        cache = AnswerCache(folder, 2**20) if with_cache else None
        with QueryJournal(folder / "queries.db") as journal:
            oracle = ReplicatedOracle(2)
            metered = MeteredOracle(oracle, QueryLedger(0), journal, cache, by_content=by_content)
            for answer, one in zip(answers_of(metered, seeds), expected(seeds), strict=True):
                np.testing.assert_array_equal(answer, one)
            assert len(oracle.asked) == num_asked
            total = journal.total()
        assert metered.ledger.spent == total
        assert total.cached_predictions == (4 if with_cache else 0)


def test_nothing_is_asked_that_the_budget_does_not_cover() -> None:
    oracle = ReplicatedOracle(2)
    metered = MeteredOracle(oracle, QueryLedger(1))
    task, handles = asked_of(metered, [0, 1])
    search: Purpose = "search"
    asked = [(handle, search) for handle in handles]
    with pytest.raises(BudgetError):
        metered.predict_each(task, asked, task.initial_context[None])
    assert oracle.asked == []
    assert metered.ledger.spent == Spending(images_sent=5)
