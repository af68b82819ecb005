"""The linear head: what is fitted, how its penalty is chosen, what it never sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from craft_ray.method import linear_head as module
from craft_ray.method.linear_head import LinearHead, _assign_folds, fit_linear_head
from craft_ray.method.reduction import FloatArray, LabelArray
from tests.support.examples import few

NUM_CLASSES = 4


def problem(
    num_images: int = 40,
    num_logits: int = 20,
    num_views: int = 2,
    noise: float = 1.0,
    seed: int = 0,
) -> tuple[FloatArray, LabelArray]:
    """Logits [1 + V, N, F] of hidden features whose classes are blobs, and labels."""
    world = np.random.default_rng(1)  # the same black box for all images
    centres = world.normal(size=(NUM_CLASSES, 6))
    projection = world.normal(size=(6, num_logits))
    rng = np.random.default_rng(seed)
    labels_N = np.arange(num_images) % NUM_CLASSES
    images_N6 = centres[labels_N] + noise * rng.normal(size=(num_images, 6))
    views = [images_N6 + 0.1 * rng.normal(size=images_N6.shape) for _ in range(num_views)]
    logits_VNF = np.stack([images_N6, *views]) @ projection
    return logits_VNF.astype(np.float32), labels_N


def accuracy(head: LinearHead, logits_NF: FloatArray, labels_N: LabelArray) -> float:
    return float((head(logits_NF).argmax(axis=1) == labels_N).mean())


def test_more_logits_see_more_of_the_hidden_features() -> None:
    train, labels = problem(80, noise=0.5)
    fresh, fresh_labels = problem(400, noise=0.5, seed=1)
    few = fit_linear_head(train[:, :, :NUM_CLASSES], labels, NUM_CLASSES, 5, 0).head
    many = fit_linear_head(train, labels, NUM_CLASSES, 5, 0).head
    before = accuracy(few, fresh[0, :, :NUM_CLASSES], fresh_labels)
    after = accuracy(many, fresh[0], fresh_labels)
    assert before < 0.8 < 0.85 < after


@pytest.mark.parametrize("factor", [1e-2, 1.0, 1e2])
def test_features_of_any_length_are_penalised_alike(factor: float) -> None:
    features, labels = problem(noise=1.5)
    zero_shot = features[:, :, :NUM_CLASSES]
    fits = [
        fit_linear_head(np.float32(f) * features, labels, NUM_CLASSES, 5, 0, None, zero_shot)
        for f in (1.0, factor)
    ]
    assert fits[0].penalty == fits[1].penalty
    assert fits[0].whitening == 0, "their own metric"
    one, other = [
        each.head(np.float32(f) * features[0]) for each, f in zip(fits, (1.0, factor), strict=True)
    ]
    np.testing.assert_allclose(one, other, atol=0.05)


def test_a_base_given_apart_is_what_few_images_stay_near() -> None:
    """Features that say nothing of the class are left aside."""
    labels = np.arange(60) % NUM_CLASSES
    rng = np.random.default_rng(3)
    zero_shot = 3 * np.eye(NUM_CLASSES)[labels] + rng.normal(size=(60, NUM_CLASSES))
    base = zero_shot[None].astype(np.float32)
    noise = rng.normal(size=(1, 60, 8)).astype(np.float32)
    fitted = fit_linear_head(noise, labels, NUM_CLASSES, 5, 0, None, base)
    seen = fitted.head(noise[0])
    final = seen + fitted.base_scale * base[0]
    assert fitted.base_scale > 0.5
    assert np.ptp(seen, axis=1).mean() < 0.3 * np.ptp(final, axis=1).mean()
    assert (final.argmax(axis=1) == base[0].argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize("num_logits", [20, 60])
def test_it_is_penalised_logistic_regression(
    monkeypatch: pytest.MonkeyPatch, num_logits: int
) -> None:
    # With zero-shot logits that say nothing, what is left is scikit-learn's model.
    monkeypatch.setattr(module, "WHITENINGS", (0.0,))
    logits, labels = problem(60, num_logits, num_views=0)
    logits[:, :, :NUM_CLASSES] = 3.0
    fitted = fit_linear_head(logits, labels, NUM_CLASSES, 5, 0)
    rest = logits[0, :, NUM_CLASSES:].astype(np.float64)
    points = (rest - rest.mean(axis=0)) / rest.std(axis=0)
    points /= np.sqrt((points**2).sum(axis=1).mean())
    points = np.hstack([points, np.ones((60, 1))])
    model = LogisticRegression(
        C=1 / (fitted.penalty * 60), fit_intercept=False, tol=1e-8, max_iter=10_000
    )
    expected = model.fit(points, labels).predict_proba(points)
    final = fitted.head(logits[0])
    found = np.exp(final) / np.exp(final).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_held_out_loss_is_that_of_images_it_never_saw() -> None:
    # Labels are drawn: whoever saw a view of an image would know its label by heart.
    rng = np.random.default_rng(3)
    logits, _ = problem(60, 200, num_views=3, noise=5.0)
    labels = rng.permutation(np.arange(60) % NUM_CLASSES)
    fitted = fit_linear_head(logits, labels, NUM_CLASSES, 5, 0)
    assert fitted.held_out_loss is not None
    assert fitted.held_out_loss > 0.9 * np.log(NUM_CLASSES)
    assert fitted.held_out_NC is not None
    assert fitted.folds == 5
    loss = log_loss(labels, softmax(fitted.held_out_NC, axis=1))
    assert fitted.held_out_loss == pytest.approx(loss, rel=1e-4)


def test_a_good_zero_shot_is_kept_where_nothing_else_is_known() -> None:
    # The classes' own logits are right, the others are noise.
    rng = np.random.default_rng(4)
    labels = np.arange(16) % NUM_CLASSES
    own = 6 * np.eye(NUM_CLASSES)[labels] + rng.normal(size=(16, NUM_CLASSES))
    noise = 10 * rng.normal(size=(16, 100))
    logits = np.hstack([own, noise]).astype(np.float32)
    head = fit_linear_head(logits[None], labels, NUM_CLASSES, 5, 0).head
    fresh_labels = np.arange(400) % NUM_CLASSES
    own = 6 * np.eye(NUM_CLASSES)[fresh_labels] + rng.normal(size=(400, NUM_CLASSES))
    fresh = np.hstack([own, 10 * rng.normal(size=(400, 100))]).astype(np.float32)
    assert accuracy(head, fresh, fresh_labels) > 0.95


def test_one_image_a_class_is_fitted_without_holding_out() -> None:
    logits, labels = problem(NUM_CLASSES, num_views=4)
    fitted = fit_linear_head(logits, labels, NUM_CLASSES, 5, 0)
    assert fitted.held_out_loss is None
    assert fitted.held_out_NC is None
    assert fitted.folds == 1
    assert fitted.penalty == module.UNTESTED_PENALTY
    assert accuracy(fitted.head, logits[0], labels) == 1.0


@few
@given(
    scale=st.floats(0.01, 100),
    shift=st.floats(-50, 50),
    seed=st.integers(0, 1000),
)
def test_units_and_order_of_further_logits_do_not_matter(
    scale: float, shift: float, seed: int
) -> None:
    logits, labels = problem(24, 12, num_views=1)
    order = np.random.default_rng(seed).permutation(np.arange(NUM_CLASSES, 12))
    other = logits.copy()
    other[:, :, NUM_CLASSES:] = scale * logits[:, :, order] + shift
    one = fit_linear_head(logits, labels, NUM_CLASSES, 3, 0)
    two = fit_linear_head(other, labels, NUM_CLASSES, 3, 0)
    assert (one.penalty, one.whitening) == (two.penalty, two.whitening)
    np.testing.assert_allclose(one.head(logits[0]), two.head(other[0]), atol=0.05)


def test_a_logit_that_never_changes_is_left_out() -> None:
    logits, labels = problem(24, 12)
    logits[:, :, 7] = 11.0
    head = fit_linear_head(logits, labels, NUM_CLASSES, 3, 0).head
    np.testing.assert_array_equal(head.weight_FC[7], 0)
    assert np.isfinite(head.weight_FC).all()


@few
@given(
    labels=st.lists(st.integers(0, 2), min_size=9, max_size=30),
    copied=st.lists(st.integers(0, 29), max_size=12),
    folds=st.integers(2, 5),
)
def test_copies_of_an_image_are_in_one_fold(
    labels: list[int], copied: list[int], folds: int
) -> None:
    """Else what is held out is among what is fitted, and too weak a penalty is chosen."""
    labels += [0, 0, 1, 1, 2, 2]
    rows = [*range(len(labels)), *(row % len(labels) for row in copied)]
    labels_N, first_N = np.array(labels)[rows], np.array(rows)
    folds_N = _assign_folds(labels_N, folds, 1, first_N)
    assert folds_N is not None
    np.testing.assert_array_equal(folds_N, folds_N[first_N])
    alone_N = _assign_folds(np.array(labels), folds, 1, None)
    assert alone_N is not None
    # Without copies nothing has changed; with them the folds of what is there once have not.
    np.testing.assert_array_equal(folds_N[: len(labels)], alone_N)


def test_a_class_of_copies_of_one_image_cannot_be_held_out() -> None:
    labels_N, first_N = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 3, 3])
    assert _assign_folds(labels_N, 3, 1, first_N) is None
    assert _assign_folds(labels_N, 3, 1, None) is not None
