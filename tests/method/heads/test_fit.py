"""Heads on many logits: what is fitted, and what it never sees."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from craft_ray.config.heads import HeadFit
from craft_ray.method.heads import FittedHead, LinearHead, fit_head
from craft_ray.method.heads import fit as fit_module
from craft_ray.method.heads.folds import assign_folds
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


def fitted_head(
    logits_VNF: FloatArray,
    labels_N: LabelArray,
    first_N: LabelArray | None = None,
    base_VNC: FloatArray | None = None,
    kind: HeadFit = "anchored",
    folds: int = 5,
) -> FittedHead:
    return fit_head(kind, logits_VNF, labels_N, NUM_CLASSES, folds, 0, first_N, base_VNC)


def accuracy(head: LinearHead, logits_NF: FloatArray, labels_N: LabelArray) -> float:
    return float((head(logits_NF).argmax(axis=1) == labels_N).mean())


@pytest.mark.parametrize("kind", get_args(HeadFit))
@pytest.mark.parametrize("is_own", [False, True], ids=["a base of its own", "the first logits"])
def test_answers_are_fitted_where_they_are_and_stay_as_they_are(
    kind: HeadFit, is_own: bool
) -> None:
    """They are the largest array of a training: nothing needs a second one that may be written."""
    logits_VNF, labels_N = problem()
    base_VNC = None if is_own else logits_VNF[:, :, :NUM_CLASSES].copy()
    answers = [each for each in (logits_VNF, base_VNC) if each is not None]
    before = [each.copy() for each in answers]
    fitted = fitted_head(logits_VNF, labels_N, base_VNC=base_VNC, kind=kind)
    for each, expected in zip(answers, before, strict=True):
        np.testing.assert_array_equal(each, expected)
        each.setflags(write=False)  # as answers from the object store are
    again = fitted_head(logits_VNF, labels_N, base_VNC=base_VNC, kind=kind)
    np.testing.assert_array_equal(again.head.weight_FC, fitted.head.weight_FC)
    np.testing.assert_array_equal(again.head.bias_C, fitted.head.bias_C)


def test_more_logits_see_more_of_the_hidden_features() -> None:
    train, labels = problem(80, noise=0.5)
    fresh, fresh_labels = problem(400, noise=0.5, seed=1)
    few = fitted_head(train[:, :, :NUM_CLASSES], labels).head
    many = fitted_head(train, labels).head
    before = accuracy(few, fresh[0, :, :NUM_CLASSES], fresh_labels)
    after = accuracy(many, fresh[0], fresh_labels)
    assert before < 0.8 < 0.85 < after


@pytest.mark.parametrize(("kind", "other"), [("anchored", "logistic"), ("gda", None)])
@pytest.mark.parametrize("copies", [1, 3])
def test_images_of_a_class_that_are_all_alike_show_no_covariance(
    kind: HeadFit, other: HeadFit | None, copies: int
) -> None:
    """One image a class without views, or copies of it: the analysis adds nothing."""
    logits, labels = problem(num_images=NUM_CLASSES, num_views=0)
    first = np.repeat(np.arange(NUM_CLASSES) * copies, copies)
    copied, of_copies = np.repeat(logits, copies, axis=1), np.repeat(labels, copies)
    found = fitted_head(copied, of_copies, first, kind=kind).head(logits[0])
    expected = logits[0, :, :NUM_CLASSES]
    if other is not None:
        expected = fitted_head(copied, of_copies, first, kind=other).head(logits[0])
        assert (found.argmax(axis=1) == labels).all()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("factor", [1e-2, 1.0, 1e2])
def test_features_of_any_length_are_penalised_alike(factor: float) -> None:
    features, labels = problem(noise=1.5)
    zero_shot = features[:, :, :NUM_CLASSES]
    fits = [fitted_head(np.float32(f) * features, labels, None, zero_shot) for f in (1.0, factor)]
    one, other = [
        each.head(np.float32(f) * features[0]) for each, f in zip(fits, (1.0, factor), strict=True)
    ]
    np.testing.assert_allclose(one, other, atol=0.05)


def test_a_base_given_apart_is_corrected_and_not_replaced() -> None:
    """Features that say nothing of the class cost little."""
    rng = np.random.default_rng(3)

    def draw(num_images: int) -> tuple[FloatArray, FloatArray, LabelArray]:
        labels = np.arange(num_images) % NUM_CLASSES
        base = 3 * np.eye(NUM_CLASSES)[labels] + rng.normal(size=(num_images, NUM_CLASSES))
        noise = rng.normal(size=(num_images, 8))
        return noise.astype(np.float32), base.astype(np.float32), labels

    noise, base, labels = draw(60)
    fitted = fitted_head(noise[None], labels, None, base[None])
    noise, base, labels = draw(2000)
    final = fitted.head(noise) + fitted.base_scale * base
    before = float((base.argmax(axis=1) == labels).mean())
    after = float((final.argmax(axis=1) == labels).mean())
    assert after > before - 0.08 > 0.85


def test_held_out_loss_is_that_of_images_it_never_saw() -> None:
    # Labels are drawn: whoever saw a view of an image would know its label by heart.
    rng = np.random.default_rng(3)
    logits, _ = problem(60, 200, num_views=3, noise=5.0)
    labels = rng.permutation(np.arange(60) % NUM_CLASSES)
    fitted = fitted_head(logits, labels)
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
    head = fitted_head(logits[None], labels).head
    fresh_labels = np.arange(400) % NUM_CLASSES
    own = 6 * np.eye(NUM_CLASSES)[fresh_labels] + rng.normal(size=(400, NUM_CLASSES))
    fresh = np.hstack([own, 10 * rng.normal(size=(400, 100))]).astype(np.float32)
    assert accuracy(head, fresh, fresh_labels) > 0.95


def test_one_image_a_class_is_fitted_without_holding_out() -> None:
    logits, labels = problem(NUM_CLASSES, num_views=4)
    fitted = fitted_head(logits, labels)
    assert fitted.held_out_loss is None
    assert fitted.held_out_NC is None
    assert fitted.folds == 1
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
    one = fitted_head(logits, labels, folds=3)
    two = fitted_head(other, labels, folds=3)
    np.testing.assert_allclose(one.head(logits[0]), two.head(other[0]), atol=0.05)


def test_a_logit_that_never_changes_is_left_out() -> None:
    logits, labels = problem(24, 12)
    logits[:, :, 7] = 11.0
    head = fitted_head(logits, labels, folds=3).head
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
    folds_N = assign_folds(labels_N, folds, 1, first_N)
    assert folds_N is not None
    np.testing.assert_array_equal(folds_N, folds_N[first_N])
    alone_N = assign_folds(np.array(labels), folds, 1, None)
    assert alone_N is not None
    # Without copies nothing has changed; with them the folds of what is there once have not.
    np.testing.assert_array_equal(folds_N[: len(labels)], alone_N)


def test_a_class_of_copies_of_one_image_cannot_be_held_out() -> None:
    labels_N, first_N = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 3, 3])
    assert assign_folds(labels_N, 3, 1, first_N) is None
    assert assign_folds(labels_N, 3, 1, None) is not None


KINDS = get_args(HeadFit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shots", [1, 2, 8])
def test_every_kind_learns_from_few_images(kind: HeadFit, shots: int) -> None:
    train, labels = problem(shots * NUM_CLASSES, num_logits=60, noise=0.3)
    fresh, fresh_labels = problem(400, num_logits=60, num_views=0, noise=0.3, seed=1)
    fitted = fitted_head(train, labels, kind=kind)
    # The share of the discriminant analysis is next to nothing for one image a class.
    # And without the classes' own names few images say little.
    hard = (kind, shots) == ("gda", 1) or (kind == "similarity" and shots < 8)
    least = 0.2 if hard else 0.75
    assert accuracy(fitted.head, fresh[0], fresh_labels) > least
    assert fitted.rank == min(6, len(train[0]) * 3 - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_factor_of_the_logits_makes_probabilities_of_unseen_images_right(
    kind: HeadFit,
) -> None:
    train, labels = problem(240, num_logits=40, noise=1.2)
    fresh, fresh_labels = problem(2000, num_logits=40, num_views=0, noise=1.2, seed=1)
    fitted = fitted_head(train, labels, kind=kind)
    probabilities = softmax(fitted.head(fresh[0]), axis=1)
    confidence = probabilities.max(axis=1).mean()
    assert confidence == pytest.approx(accuracy(fitted.head, fresh[0], fresh_labels), abs=0.06)
    assert fitted.held_out_loss == pytest.approx(log_loss(fresh_labels, probabilities), abs=0.25)


def test_of_many_images_one_part_sets_the_factor_and_none_is_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, labels = problem(240, num_logits=40, noise=1.2)
    all_held_out = fitted_head(train, labels)
    monkeypatch.setattr(fit_module, "MOST_HELD_OUT", 200)
    fitted = fitted_head(train, labels)
    assert fitted.held_out_NC is None
    assert fitted.folds == 1
    ratio = fitted.head.weight_FC / all_held_out.head.weight_FC
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-3)
    assert 0.5 < np.median(ratio) < 2


def test_similarity_does_not_look_at_the_classes_own_logits() -> None:
    train, labels = problem(40)
    head = fitted_head(train, labels, kind="similarity").head
    np.testing.assert_array_equal(head.weight_FC[:NUM_CLASSES], 0)


def test_with_many_classes_the_correction_is_not_pressed_to_nothing() -> None:
    """Of a hundred classes, each is one part in a hundred of the mean loss."""
    generator = np.random.default_rng(0)
    centres_CW = generator.normal(size=(100, 128))
    texts_WC = 0.3 * centres_CW.T + generator.normal(size=(128, 100))
    names_WF = np.concatenate([texts_WC, generator.normal(size=(128, 256))], axis=1) / 8

    def draw(count: int) -> tuple[FloatArray, LabelArray]:
        labels_N = np.repeat(np.arange(100), count)
        noise_NW = 1.5 * generator.normal(size=(len(labels_N), 128))
        return ((centres_CW[labels_N] + noise_NW) @ names_WF).astype(np.float32), labels_N

    seen_NF, labels_N = draw(8)
    fresh_NF, fresh_N = draw(4)
    fitted = fit_head("logistic", seen_NF[None], labels_N, 100, 2, 0)
    assert (fitted.head(fresh_NF).argmax(axis=1) == fresh_N).mean() > 0.75


@pytest.mark.parametrize("kind", get_args(HeadFit))
@pytest.mark.parametrize("copies", [1, 5])
def test_images_that_do_not_differ_within_a_class_are_fitted(kind: HeadFit, copies: int) -> None:
    """One image a class without views, or the same one several times."""
    train, _ = problem(NUM_CLASSES, num_views=0)
    labels = np.arange(NUM_CLASSES)
    fitted = fitted_head(np.tile(train, (1, copies, 1)), np.tile(labels, copies), kind=kind)
    final = fitted.head(train[0])
    assert np.isfinite(final).all()
    assert kind == "gda" or (final.argmax(axis=1) == labels).all()
