"""What is spent is counted exactly, and never more than the budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.errors import BudgetError, OracleError
from craft_ray.metering.ledger import Purpose, QueryLedger, Spending, cost_of
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask
from tests.support.fake_oracle import FakeOracle, images_of
from tests.support.recording import RecordingOracle

purposes: st.SearchStrategy[Purpose] = st.sampled_from(["search", "head", "evaluation"])
calls = st.tuples(purposes, st.integers(1, 6), st.integers(1, 4))

ORACLE = FakeOracle()
TASK = ORACLE.register_task(ClassificationTask(("cat", "dog", "horse")))
IMAGES = [
    ORACLE.register_images(images_of("cat", count, np.random.default_rng(0)))
    for count in range(1, 5)
]


@given(budget=st.integers(0, 25), asked=st.lists(calls, max_size=12))
def test_totals_equal_the_sum_of_what_was_answered_and_never_exceed_the_budget(
    budget: int, asked: list[tuple[Purpose, int, int]]
) -> None:
    recording = RecordingOracle(ORACLE)
    metered = MeteredOracle(recording, QueryLedger(budget))
    expected = Spending()
    for purpose, num_contexts, num_images in asked:
        contexts = np.repeat(TASK.initial_context[None], num_contexts, axis=0)
        affordable = purpose != "search" or (expected.candidate_queries + num_contexts <= budget)
        if not affordable:
            with pytest.raises(BudgetError, match=rf"spent \+ asked <= {budget} must hold"):
                metered.predict(TASK, IMAGES[num_images - 1], contexts, purpose=purpose)
        else:
            metered.predict(TASK, IMAGES[num_images - 1], contexts, purpose=purpose)
            expected += cost_of(purpose, num_contexts, num_images, 3)
        assert metered.ledger.spent == expected
        assert metered.ledger.remaining_queries == budget - expected.candidate_queries >= 0
    answered = [question.logits_KNC for question in recording.questions]
    assert expected.image_predictions == sum(logits[:, :, 0].size for logits in answered)
    assert expected.text_encodes == sum(logits[:, 0].size for logits in answered)


def test_the_budget_is_checked_before_the_oracle_is_asked() -> None:
    recording = RecordingOracle(ORACLE)
    metered = MeteredOracle(recording, QueryLedger(3))
    contexts = np.repeat(TASK.initial_context[None], 4, axis=0)
    with pytest.raises(BudgetError, match="spent=0 and asked=4"):
        metered.predict(TASK, IMAGES[0], contexts, purpose="search")
    assert recording.questions == []
    metered.predict(TASK, IMAGES[0], contexts[:3], purpose="search")
    assert metered.ledger.remaining_queries == 0


def test_a_question_that_was_not_answered_is_not_counted() -> None:
    recording = RecordingOracle(ORACLE, refuses=True)
    metered = MeteredOracle(recording, QueryLedger(3))
    with pytest.raises(OracleError, match="away"):
        metered.predict(TASK, IMAGES[0], TASK.initial_context[None], purpose="search")
    assert metered.ledger.spent == Spending()


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("search", Spending(candidate_queries=2, search_predictions=10, text_encodes=6)),
        ("head", Spending(head_predictions=10, text_encodes=6)),
        ("evaluation", Spending(evaluation_predictions=10, text_encodes=6)),
    ],
)
def test_each_purpose_has_its_own_column(purpose: Purpose, expected: Spending) -> None:
    assert cost_of(purpose, num_contexts=2, num_images=5, num_classes=3) == expected
    assert expected.image_predictions == 10


counts = st.integers(0, 10**12)
spendings = st.builds(Spending, counts, counts, counts, counts, counts)


@given(first=spendings, second=spendings)
def test_spendings_add_up_and_survive_a_file(first: Spending, second: Spending) -> None:
    total = first + second
    assert total == second + first
    assert total.image_predictions == first.image_predictions + second.image_predictions
    ledger = QueryLedger(10**13)
    ledger.restore(total.as_dict())
    assert ledger.spent == total == Spending.from_dict(total.as_dict())
