"""Scores, and the classifier that is the product of a run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.score import Score, ScoreCount, score_logits, score_together
from craft_ray.method.head import RefinementHead

CONTEXT = np.ones((4, 6), np.float32)


def test_accuracy_and_cross_entropy_of_known_logits() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]], np.float32))
    score = score_logits(logits, np.array([0, 2, 0]))
    assert score.accuracy == pytest.approx(2 / 3)
    assert score.loss == pytest.approx(-np.log([0.7, 0.4, 0.1]).mean(), rel=1e-5)
    # 0.4 was right, alone in its bin; 0.7 right and 0.8 wrong, each in its own.
    assert score.calibration_error == pytest.approx((0.6 + 0.3 + 0.8) / 3, abs=1e-6)


@given(st.data())
def test_calibration_error_is_the_textbooks_whatever_the_blocks(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    logits = (3 * rng.normal(size=(40, 4))).astype(np.float32)
    labels = rng.integers(0, 4, 40)
    cut = data.draw(st.integers(1, 39))
    count = ScoreCount()
    for block in (slice(None, cut), slice(cut, None)):
        count.add(logits[block], labels[block])
    exp = np.exp(logits.astype(np.float64))
    confidence = (exp / exp.sum(axis=1, keepdims=True)).max(axis=1)
    right = logits.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:  # Guo et al., equation 3: bins (low, low + 1/15]
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 40 * gap
    assert count.score.calibration_error == pytest.approx(expected)


def test_of_two_classes_with_one_name_the_first_is_predicted_as_a_fair_coin_on_average() -> None:
    rng = np.random.default_rng(0)
    logits_NC = rng.normal(size=(3000, 3)).astype(np.float32)
    logits_NC[:, 2] = logits_NC[:, 0]  # one name, one prompt
    labels_N = np.arange(3000) % 3
    first, other, second = (
        score_logits(logits_NC[labels_N == label], labels_N[labels_N == label]).accuracy
        for label in range(3)
    )
    is_pair_N = logits_NC[:, 0] > logits_NC[:, 1]
    assert first == is_pair_N[labels_N == 0].mean()
    assert second == 0.0
    # With as many images of either class, what the coin gives to both the first has alone.
    coin = 0.5 * is_pair_N[labels_N != 1].mean()
    assert score_logits(logits_NC, labels_N).accuracy == pytest.approx(
        (2 * coin + other) / 3, abs=0.01
    )


def test_logits_that_are_not_finite_have_no_calibration() -> None:
    for bad in (np.nan, np.inf):
        score = score_logits(np.array([[1.0, bad], [0.0, 1.0]], np.float32), np.array([0, 1]))
        assert np.isnan(score.calibration_error)


def test_more_accuracy_is_better_and_among_equals_less_loss() -> None:
    assert Score(0.8, 9.0, 0).is_better_than(Score(0.7, 0.1, 0))
    assert Score(0.7, 0.1, 0).is_better_than(Score(0.7, 0.2, 0))
    assert not Score(0.7, 0.1, 0).is_better_than(Score(0.7, 0.1, 0))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_never_wins(loss: float) -> None:
    assert not Score(1.0, loss, 0).is_better_than(Score(0.0, 1e30, 0))
    assert not Score(1.0, loss, 0).is_better_than(Score(1.0, loss, 0))


scores = st.builds(
    Score,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.floats(-5, 5) | st.sampled_from([np.nan, np.inf]),
    st.just(0.0),
)


@given(first=scores, second=scores)
def test_of_two_scores_at_most_one_is_better(first: Score, second: Score) -> None:
    assert not (first.is_better_than(second) and second.is_better_than(first))
    assert not first.is_better_than(first)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_scores_of_parts_are_together_that_of_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        (3 * rng.normal(size=(size, 4)).astype(np.float32), rng.integers(0, 4, size))
        for size in sizes
    ]
    together = score_together([score_logits(*part) for part in parts], sizes)
    logits, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    whole = score_logits(logits, labels)
    assert together.accuracy == whole.accuracy
    assert together.loss == pytest.approx(whole.loss)
    assert together.calibration_error >= whole.calibration_error - 1e-12


def test_without_a_head_logits_stay_as_they_are() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(PromptClassifier(CONTEXT, None).refine(logits), logits[0])


def test_a_captured_classifier_does_not_follow_later_training() -> None:
    head = RefinementHead(3, 4, init="default")
    context = CONTEXT.copy()
    classifier = PromptClassifier.capture(context, head)
    logits = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
    logits.setflags(write=False)  # as Ray's object store hands them out
    before = classifier.refine(logits)
    assert not np.array_equal(before, logits)
    context[:] = 0
    for parameter in head.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(classifier.refine(logits), before)
    np.testing.assert_array_equal(classifier.context_LE, CONTEXT)
