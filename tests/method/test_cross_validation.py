"""The error of the best linear head, against the arithmetic of the book and scikit-learn's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from craft_ray.method import scoring
from craft_ray.method.cross_validation import (
    RELATIVE_PENALTIES,
    LogitMoments,
    has_fast_float64,
)
from craft_ray.method.reduction import FloatArray, LinearHeadError
from craft_ray.method.scoring import reduce_blocks, reduce_logits

K, N, C, F = 4, 30, 3, 5
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % C
LOGITS = RNG.normal(20, 3, (K, N, F)).astype(np.float32)
LOGITS[1, :, :C] += 4 * np.eye(C, dtype=np.float32)[LABELS]  # the second tells the classes apart
NOTHING = np.zeros((N, 0), dtype=np.float32)


def errors(logits_KNF: FloatArray, known_NF: FloatArray = NOTHING) -> npt.NDArray[np.float64]:
    return reduce_logits(logits_KNF, LinearHeadError(LABELS, C, known_NF))


def by_the_definition(logits_NF: FloatArray) -> float:
    """V(penalty) of Golub, Heath and Wahba, its matrix H by ridge regression on unit targets."""
    x = logits_NF.astype(np.float64)
    total = ((x - x.mean(axis=0)) ** 2).sum()
    one_hot = np.eye(C)[LABELS]
    found = []
    for penalty in RELATIVE_PENALTIES:
        hat = Ridge(alpha=penalty * total).fit(x, np.eye(N)).predict(x)
        residuals = one_hot - hat @ one_hot
        found.append((residuals**2).mean() / (1 - np.trace(hat) / N) ** 2)
    return float(min(found))


def test_it_is_generalised_cross_validation() -> None:
    expected = [by_the_definition(logits) for logits in LOGITS]
    np.testing.assert_allclose(errors(LOGITS), expected, rtol=1e-9)


def test_known_logits_are_seen_beside_the_candidates() -> None:
    known = RNG.normal(0, 2, (N, 4)).astype(np.float32)
    expected = [by_the_definition(np.hstack([known, logits])) for logits in LOGITS]
    np.testing.assert_allclose(errors(LOGITS, known), expected, rtol=1e-9)
    # What is known already helps nothing.
    apart, repeated = errors(LOGITS)[1], errors(LOGITS[:1], LOGITS[1])[0]
    assert repeated > apart


def test_it_estimates_the_error_on_images_that_were_not_seen() -> None:
    rng = np.random.default_rng(1)
    num_seen, labels = 60, np.arange(1000) % C
    one_hot = np.eye(C)[labels]
    centres = rng.normal(0, 1, (C, 12))
    draws = (centres[labels] + rng.normal(0, 1.5, (20, 1000, 12))).astype(np.float32)
    known = np.zeros((num_seen, 0), dtype=np.float32)
    reduction = LinearHeadError(labels[:num_seen], C, known)
    estimate = reduce_logits(draws[:, :num_seen], reduction).mean()
    seen, unseen = [], []
    for x in draws.astype(np.float64):
        total = ((x[:num_seen] - x[:num_seen].mean(axis=0)) ** 2).sum()
        fits = [Ridge(alpha=p * total) for p in RELATIVE_PENALTIES]
        squares = [
            (f.fit(x[:num_seen], one_hot[:num_seen]).predict(x) - one_hot) ** 2 for f in fits
        ]
        seen.append(min(square[:num_seen].mean() for square in squares))
        unseen.append(min(square[num_seen:].mean() for square in squares))
    too_good = np.mean(unseen) - np.mean(seen)
    assert too_good > 0
    assert abs(estimate - np.mean(unseen)) < too_good / 4


def test_the_candidate_that_tells_classes_apart_wins() -> None:
    assert errors(LOGITS).argmin() == 1


@given(
    scale=st.floats(0.01, 100),
    shift=st.floats(-50, 50),
    sizes=st.lists(st.integers(1, N), min_size=1, max_size=N),
)
def test_neither_scale_nor_shift_nor_blocks_show(
    scale: float, shift: float, sizes: list[int]
) -> None:
    cuts = [*np.cumsum(sizes)[np.cumsum(sizes) < N].tolist(), N]
    starts = [0, *cuts[:-1]]
    logits = torch.from_numpy(LOGITS.astype(np.float64) * scale + shift)
    blocks = [logits[:, a:b] for a, b in zip(starts, cuts, strict=True)]
    found = reduce_blocks(blocks, LinearHeadError(LABELS, C, NOTHING))
    np.testing.assert_allclose(found, errors(LOGITS), rtol=1e-5)


@pytest.fixture
def slow_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU with 1/64 of its speed in float64."""
    monkeypatch.setattr(scoring, "has_fast_float64", lambda device: False)


@pytest.mark.usefixtures("slow_float64")
@pytest.mark.parametrize("num_blocks", [1, 3])
def test_where_float64_is_slow_the_error_is_nearly_the_same(num_blocks: int) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(20, 0.5, (3, 300, 40)).astype(np.float32)
    labels = np.arange(300) % 5
    logits[1, :, :5] += np.eye(5, dtype=np.float32)[labels]
    reduction = LinearHeadError(labels, 5, np.zeros((300, 0), dtype=np.float32))
    blocks = torch.from_numpy(logits).chunk(num_blocks, dim=1)
    found = reduce_blocks(blocks, reduction)
    moments = LogitMoments.of(torch.from_numpy(logits), torch.from_numpy(labels), 5)
    np.testing.assert_allclose(found, moments.held_out_errors().numpy(), rtol=1e-5)


@pytest.mark.usefixtures("slow_float64")
@pytest.mark.parametrize("value", [0.0, 7.0, 20.1])
def test_where_float64_is_slow_a_candidate_may_say_nothing_or_no_number(value: float) -> None:
    logits = np.full((2, N, F), value, dtype=np.float32)
    logits[1, 2, 3] = np.nan
    guess = (1 - 1 / C) / C * (N / (N - 1)) ** 2
    np.testing.assert_allclose(errors(logits), [guess, np.nan], rtol=1e-6)


def test_float64_is_slow_on_most_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_fast_float64(torch.device("cpu"))
    for capability, is_fast in (((9, 0), True), ((8, 0), True), ((8, 9), False), ((7, 5), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert has_fast_float64(torch.device("cuda", 0)) == is_fast


def test_more_logits_than_images() -> None:
    wide = RNG.normal(0, 1, (2, N, 3 * N)).astype(np.float32)
    found = errors(wide)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, [by_the_definition(logits) for logits in wide], rtol=1e-6)


def test_a_candidate_without_a_finite_answer_fails_alone() -> None:
    logits = LOGITS.copy()
    logits[2, 3, 0] = np.nan
    found = errors(logits)
    assert np.isnan(found[2])
    np.testing.assert_array_equal(np.delete(found, 2), np.delete(errors(LOGITS), 2))


@pytest.mark.parametrize("value", [0.0, 7.0, 20.1])
def test_a_candidate_that_says_nothing_is_as_good_as_guessing(value: float) -> None:
    constant = np.full((1, N, F), value, dtype=np.float32)
    share = 1 / C  # of every class, always guessed
    guess = share * (1 - share) * (N / (N - 1)) ** 2
    np.testing.assert_allclose(errors(constant), guess, rtol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (LinearHeadError(LABELS[:-1], C, NOTHING), r"labels must be integers \[30\]"),
        (LinearHeadError(LABELS + 1, C, NOTHING), r"labels must lie in \[0, 3\)"),
        (LinearHeadError(LABELS, F + 1, NOTHING), "2 <= num_classes <= 5 must hold, but got 6"),
        (LinearHeadError(LABELS, C, NOTHING[1:]), r"known logits must be float32 \[30, F\]"),
        (
            LinearHeadError(LABELS, C, NOTHING.astype(np.float64)),
            "known logits must be float32",
        ),
    ],
)
def test_what_does_not_fit_is_named(wrong: LinearHeadError, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong.check(N, F)


def test_the_digest_tells_questions_apart() -> None:
    known = LOGITS[0]
    questions = [
        LinearHeadError(LABELS, C, NOTHING),
        LinearHeadError(LABELS, C + 1, NOTHING),
        LinearHeadError(LABELS, C, known),
        LinearHeadError(LABELS, C, known.reshape(F, N).T.copy()),
        LinearHeadError(LABELS[::-1].copy(), C, NOTHING),
    ]
    assert len({question.digest for question in questions}) == len(questions)
    assert LinearHeadError(LABELS, C, known.copy()).digest == questions[2].digest
