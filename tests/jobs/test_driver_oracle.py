"""A driver that is started again asks nothing that it has paid for, in whatever order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.score import Score
from craft_ray.errors import ConfigError
from craft_ray.jobs.driver_oracle import driver_oracle
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.pool.address import PoolAddress
from craft_ray.task.preparation import prepare
from tests.support.dying_oracle import DiedError, DyingOracle
from tests.support.fake_oracle import EMBED_DIM, FakeOracle
from tests.support.world import SMALL_RUN, world_data

DATA = world_data(shots=2, num_validation=3, num_test=5)
TUNED, OTHER = (
    PromptClassifier(np.full((4, EMBED_DIM), value, dtype=np.float32), None) for value in (0.1, 0.2)
)


def examine(
    oracle: DyingOracle, journal: QueryJournal, classifiers: list[PromptClassifier]
) -> tuple[list[Score], Spending]:
    """What a driver asks, from its first question on."""
    driver = MeteredOracle(oracle, QueryLedger(0), journal, by_content=True)
    answers_left, oracle.answers_left = oracle.answers_left, None
    examiner = Examiner(driver, prepare(SMALL_RUN, DATA, driver), DATA)
    oracle.answers_left = answers_left
    _, validation = examiner.validate_zero_shot()
    assert validation is not None
    return [validation, *examiner.test([examiner.zero_shot, *classifiers])], examiner.spent


@settings(max_examples=20, deadline=None)
@given(deaths=st.lists(st.integers(0, 4), max_size=4))
def test_a_driver_that_dies_anywhere_pays_once(
    deaths: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("driver")
    oracle = DyingOracle()
    for answers_left in [*deaths, None]:
        oracle.answers_left = answers_left
        with QueryJournal(folder / "queries.db") as journal:
            try:
                scores, spent = examine(oracle, journal, [TUNED])
            except DiedError:
                continue
            assert journal.total() == spent
    undisturbed = DyingOracle()
    with QueryJournal(folder / "undisturbed.db") as journal:
        assert examine(undisturbed, journal, [TUNED]) == (scores, spent)
    assert oracle.predictions_served == undisturbed.predictions_served


def test_after_a_resume_a_driver_may_ask_something_else(tmp_path: Path) -> None:
    """A trial that had failed may be the best."""
    oracle = DyingOracle()
    with QueryJournal(tmp_path / "queries.db") as journal:
        before, _ = examine(oracle, journal, [TUNED])
        served = oracle.predictions_served
        after, spent = examine(oracle, journal, [OTHER])
        assert oracle.predictions_served - served == 1  # one block of test images
        assert before[:2] == after[:2]
        assert journal.total().evaluation_predictions > spent.evaluation_predictions


def test_the_same_question_again_in_one_process_is_counted_once(tmp_path: Path) -> None:
    oracle = DyingOracle()
    with QueryJournal(tmp_path / "queries.db") as journal:
        driver = MeteredOracle(oracle, QueryLedger(0), journal, by_content=True)
        examiner = Examiner(driver, prepare(SMALL_RUN, DATA, driver), DATA)
        _, first = examiner.validate_zero_shot()
        spent = examiner.spent
        assert examiner.validate_zero_shot()[1] == first
        assert examiner.spent == spent
        assert oracle.predictions_served == 1


def test_a_mistake_before_the_first_question_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "craft_ray.jobs.driver_oracle.PoolOracle", lambda pool, config: FakeOracle()
    )
    pool = PoolAddress("", "")
    with pytest.raises(ConfigError), driver_oracle(SMALL_RUN, pool, tmp_path):
        raise ConfigError("head.names", ["too many"])
    assert list(tmp_path.iterdir()) == []
    with driver_oracle(SMALL_RUN, pool, tmp_path) as oracle:
        oracle.register_images(np.zeros((1, 3, *[oracle.describe().image_size] * 2), np.uint8))
    assert list(tmp_path.iterdir()) != []  # what was paid for stays
