"""Other kinds of scores as logits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.scores import (
    SMALLEST,
    LabelChunk,
    cosine,
    fit_temperature,
    join_chunks,
    least_of,
    log_probabilities,
    log_probabilities_of_top_k,
    logits_of_sigmoid,
)
from craft_ray.oracle.endpoints.wire import AnswerError, FloatArray


def softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    values: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return values


def random_logits(seed: int, rows: int, columns: int, scale: float) -> FloatArray:
    values = np.random.default_rng(seed).normal(size=(rows, columns)) * scale
    return values.astype(np.float32)


@given(
    seed=st.integers(0, 999),
    num_labels=st.integers(2, 12),
    scale=st.floats(0, 12),
    cuts=st.sets(st.integers(2, 11)),
    data=st.data(),
)
def test_chunks_with_an_anchor_are_the_whole_softmax(
    seed: int, num_labels: int, scale: float, cuts: set[int], data: st.DataObject
) -> None:
    logits = random_logits(seed, 3, num_labels, scale)
    labels = data.draw(st.permutations(range(num_labels)))
    edges = [1, *sorted(cut for cut in cuts if cut < num_labels), num_labels]
    chunks = []
    for start, stop in itertools.pairwise(edges):
        some = (labels[0], *labels[start:stop])
        chunks.append(LabelChunk(some, softmax(logits[:, list(some)])))
    joined = join_chunks(data.draw(st.permutations(chunks)), num_labels)
    np.testing.assert_allclose(np.exp(joined.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(joined, log_probabilities(softmax(logits)), atol=2e-4)


def test_an_anchor_of_probability_zero_is_clamped() -> None:
    chunk = LabelChunk((0, 1), np.array([[0.0, 1.0]], dtype=np.float32))
    joined = join_chunks([chunk], 2)
    np.testing.assert_allclose(joined, [[np.log(SMALLEST), 0]], atol=1e-5)


def test_a_rounded_zero_is_taken_for_half_of_the_last_decimal() -> None:
    """Not for 1e-38: whatever is joined by an anchor that is rounded to 0 would be 70 too large."""
    assert least_of(3) == pytest.approx(0.0005)
    assert least_of(None) == SMALLEST
    rounded = np.array([[0.0, 0.25, 0.75]], dtype=np.float32)
    np.testing.assert_allclose(np.exp(log_probabilities(rounded, 3)), [[0.0005, 0.25, 0.75]])
    ends = logits_of_sigmoid(np.array([[0.0, 1.0]], dtype=np.float32), 3)
    assert ends[0] == pytest.approx([np.log(0.0005), -np.log(0.0005)], rel=1e-3)
    logits = random_logits(3, 200, 9, 2.0)
    pieces = [(0, 1, 2, 3, 4), (0, 5, 6, 7, 8)]
    chunks = [LabelChunk(some, softmax(logits[:, list(some)]).round(3)) for some in pieces]
    truth = log_probabilities(softmax(logits))
    error = {d: float(np.abs(join_chunks(chunks, 9, d) - truth).mean()) for d in (3, None)}
    assert error[3] < 0.5
    assert error[None] > 3 * error[3]


def test_chunks_that_do_not_belong_together() -> None:
    half = np.full((1, 2), 0.5, dtype=np.float32)
    for labels in ([(0, 1), (1, 2)], [(0, 1)], [(0, 1), (0, 1)]):
        with pytest.raises(OracleError, match="share one anchor and have each of 3 labels once"):
            join_chunks([LabelChunk(some, half) for some in labels], 3)


@given(st.lists(st.floats(-80, 12, width=32), min_size=1, max_size=9))
def test_sigmoid_scores_give_back_the_logits(logits: list[float]) -> None:
    wide = np.array([logits])
    scores = (1 / (1 + np.exp(-wide))).astype(np.float32)
    # Near 1 a float32 has few digits left.
    assert logits_of_sigmoid(scores) == pytest.approx(wide, rel=1e-4, abs=1e-2)


def test_zero_and_one_have_finite_logits() -> None:
    ends = np.array([[0.0, 1.0]], dtype=np.float32)
    assert np.isfinite(log_probabilities(ends)).all()
    assert logits_of_sigmoid(ends)[0] == pytest.approx([-87.3, 17.3], abs=0.1)
    for wrong in ([[1.2]], [[-0.1]], [[np.nan]]):
        for function in (log_probabilities, logits_of_sigmoid):
            with pytest.raises(AnswerError, match="between 0 and 1"):
                function(np.array(wrong, dtype=np.float32))


def test_cosine() -> None:
    images = np.array([[3, 4], [0, 2]], dtype=np.float32)
    texts = np.array([[1, 0], [0, 5], [-7, 0]], dtype=np.float32)
    expected = np.array([[0.6, 0.8, -0.6], [0, 1, 0]])
    np.testing.assert_allclose(cosine(images, texts), expected, atol=1e-7)
    with pytest.raises(AnswerError, match="but got 2 and 3"):
        cosine(images, np.ones((1, 3), dtype=np.float32))


def cross_entropy(logits: FloatArray, labels: FloatArray) -> float:
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels.astype(int)].mean())


@given(seed=st.integers(0, 999), factor=st.floats(0.01, 100))
def test_the_fitted_scale_is_the_best_one(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    scores = random_logits(seed, 60, 4, 1.0)
    # Each label follows a softmax of the scores; a tenth is drawn blindly, so a scale is best.
    chosen = [random.choice(4, p=row / row.sum()) for row in softmax(3 * scores).astype(float)]
    labels = np.array(chosen)
    labels[::10] = random.integers(0, 4, size=6)
    fit = fit_temperature(scores, labels)
    assert not fit.is_bound
    assert fit.loss == pytest.approx(cross_entropy(fit.scale * scores, labels))
    for other in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert fit.loss <= cross_entropy(fit.scale * other * scores, labels) + 1e-9
    scaled = fit_temperature((scores * factor).astype(np.float32), labels)
    assert scaled.scale * factor == pytest.approx(fit.scale, rel=1e-4)


def test_the_scale_that_labels_were_drawn_with_is_found() -> None:
    random = np.random.default_rng(1)
    cosines = random.normal(size=(4000, 5)).astype(np.float32) * 0.03
    probabilities = softmax(100 * cosines).astype(float)
    drawn = np.array([random.choice(5, p=row / row.sum()) for row in probabilities])
    assert fit_temperature(cosines, drawn).scale == pytest.approx(100, rel=0.1)


def test_labels_that_do_not_determine_the_scale_are_told() -> None:
    scores = np.eye(3, dtype=np.float32)
    perfect = fit_temperature(scores, np.arange(3))
    assert perfect.is_bound
    assert perfect.scale == pytest.approx(1e6)
    wrong = fit_temperature(scores, np.array([1, 2, 0]))
    assert wrong.is_bound
    assert wrong.scale == pytest.approx(1e-3)
    assert wrong.loss == pytest.approx(np.log(3), rel=1e-2)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3], [0, 1, -1], []])
def test_labels_that_do_not_fit(labels: list[int]) -> None:
    with pytest.raises(OracleError, match=r"labels of \[0, 3\) for 3 images"):
        fit_temperature(np.eye(3, dtype=np.float32), np.array(labels, dtype=np.int64))


@given(
    seed=st.integers(0, 999),
    num_labels=st.integers(2, 12),
    k=st.integers(1, 12),
    scale=st.floats(0, 12),
    decimals=st.sampled_from([None, 2, 3]),
)
def test_labels_that_are_not_told_share_the_rest(
    seed: int, num_labels: int, k: int, scale: float, decimals: int | None
) -> None:
    k = min(k, num_labels)
    whole = softmax(random_logits(seed, 3, num_labels, scale))
    if decimals is not None:
        whole = whole.round(decimals)
    order = np.argsort(-whole, axis=1, kind="stable")
    told = whole.copy()
    np.put_along_axis(told, order[:, k:], np.nan, axis=1)
    logs = log_probabilities_of_top_k(told, decimals)
    is_told = ~np.isnan(told)
    assert np.isfinite(logs).all()
    np.testing.assert_array_equal(logs[is_told], log_probabilities(whole, decimals)[is_told])
    for row in range(3):
        others = logs[row, ~is_told[row]]
        assert len(set(others.tolist())) <= 1, "all alike"
        assert (others <= logs[row, is_told[row]].min()).all(), "none is likelier than one told"
    if decimals is None and k == num_labels - 1:
        np.testing.assert_allclose(np.exp(logs), whole, atol=1e-6)


def test_an_image_of_which_nothing_is_told_is_refused() -> None:
    with pytest.raises(AnswerError, match="at least one label"):
        log_probabilities_of_top_k(np.full((1, 3), np.nan, dtype=np.float32))
    with pytest.raises(AnswerError, match="between 0 and 1"):
        log_probabilities_of_top_k(np.array([[np.nan, 2.0]], dtype=np.float32))
