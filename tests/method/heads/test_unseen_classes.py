"""Classes without a labelled image: left to zero-shot, and comparable with the others."""

from __future__ import annotations

import numpy as np
import pytest

from craft_ray.config.heads import HeadFit
from craft_ray.method.heads import FittedHead, Unlabelled, fit_head
from craft_ray.method.heads.scale import zero_shot_scale
from craft_ray.method.heads.unseen_classes import shift_to_zero_shot
from craft_ray.method.reduction import FloatArray, LabelArray

NUM_CLASSES, NUM_NAMES, WIDTH = 6, 60, 24
UNSEEN = [1, 4]
KEEPING: list[HeadFit] = ["anchored", "logistic", "gda", "cross_validated"]


def world(counts: list[int], seed: int) -> tuple[FloatArray, LabelArray]:
    """Logits of names, by which zero-shot is right in most images, and labels."""
    fixed = np.random.default_rng(7)
    centres_CW = fixed.normal(size=(NUM_CLASSES, WIDTH))
    texts_WF = fixed.normal(size=(WIDTH, NUM_CLASSES + NUM_NAMES))
    texts_WF[:, :NUM_CLASSES] = centres_CW.T + fixed.normal(size=(WIDTH, NUM_CLASSES))
    labels_N = np.repeat(np.arange(NUM_CLASSES), counts)
    noise_NW = np.random.default_rng(seed).normal(size=(len(labels_N), WIDTH))
    logits_NF = (centres_CW[labels_N] + noise_NW) @ texts_WF / 8
    return logits_NF.astype(np.float32), labels_N


def labelled(shots: int, draw: int = 1) -> tuple[FloatArray, LabelArray]:
    counts = [0 if label in UNSEEN else shots for label in range(NUM_CLASSES)]
    return world(counts, draw)


def fit(kind: HeadFit, shots: int, pool: FloatArray | None = None, draw: int = 1) -> FittedHead:
    logits_NF, labels_N = labelled(shots, draw)
    unlabelled = None if pool is None else Unlabelled(pool)
    return fit_head(
        kind, logits_NF[None], labels_N, NUM_CLASSES, folds=5, seed=3, unlabelled=unlabelled
    )


@pytest.mark.parametrize("kind", KEEPING)
@pytest.mark.parametrize("shots", [1, 4])
def test_they_keep_their_zero_shot_logits(kind: HeadFit, shots: int) -> None:
    fitted = fit(kind, shots)
    logits_NF, _ = world([5] * NUM_CLASSES, seed=2)
    final_NC = fitted.head(logits_NF)
    np.testing.assert_allclose(
        final_NC[:, UNSEEN], fitted.base_scale * logits_NF[:, UNSEEN], rtol=1e-4, atol=1e-5
    )
    assert fitted.classes == (0, 2, 3, 5)
    known = np.searchsorted(fitted.classes, labelled(shots)[1])
    seen_NF = labelled(shots)[0][:, fitted.classes]
    assert fitted.zero_shot_scale == pytest.approx(zero_shot_scale(seen_NF, known))
    assert fitted.base_scale > 0.0


def accuracies(shots: int, pool_UF: FloatArray | None = None) -> tuple[float, float]:
    """Over all classes and over the unseen ones, mean of several draws."""
    logits_NF, labels_N = world([100] * NUM_CLASSES, seed=2)
    of_unseen_N = np.isin(labels_N, UNSEEN)
    right = [
        fit("anchored", shots, pool_UF, draw).head(logits_NF).argmax(axis=1) == labels_N
        for draw in range(10, 16)
    ]
    right_DN = np.stack(right)
    return float(right_DN.mean()), float(right_DN[:, of_unseen_N].mean())


@pytest.mark.parametrize("shots", [1, 2, 8])
def test_the_task_is_better_than_by_zero_shot_and_its_unseen_classes_are_predicted(
    shots: int,
) -> None:
    logits_NF, labels_N = world([100] * NUM_CLASSES, seed=2)
    zero_shot = (logits_NF[:, :NUM_CLASSES].argmax(axis=1) == labels_N).mean()
    of_all, of_unseen = accuracies(shots)
    assert of_all > zero_shot
    assert of_unseen > 0.5


@pytest.mark.parametrize("shots", [1, 8])
def test_unlabelled_images_are_worth_more_where_classes_are_unseen(shots: int) -> None:
    pool_UF, _ = world([40] * NUM_CLASSES, seed=4)
    assert accuracies(shots, pool_UF)[0] > accuracies(shots)[0] + 0.02


def test_the_order_of_the_classes_does_not_matter() -> None:
    logits_NF, labels_N = labelled(1)  # of more, images are held out, which others a seed draws
    order = np.array([4, 0, 3, 5, 1, 2])
    places = order.argsort()
    moved_NF = logits_NF.copy()
    moved_NF[:, :NUM_CLASSES] = logits_NF[:, order]
    fitted = fit_head("anchored", logits_NF[None], labels_N, NUM_CLASSES, 5, 3)
    moved = fit_head("anchored", moved_NF[None], places[labels_N], NUM_CLASSES, 5, 3)
    fresh_NF, _ = world([5] * NUM_CLASSES, seed=2)
    fresh_moved_NF = fresh_NF.copy()
    fresh_moved_NF[:, :NUM_CLASSES] = fresh_NF[:, order]
    np.testing.assert_allclose(
        moved.head(fresh_moved_NF), fitted.head(fresh_NF)[:, order], atol=2e-2
    )


def test_where_images_were_held_out_the_labelled_classes_go_towards_their_mass() -> None:
    fitted = fit("logistic", 8)
    logits_NF, _ = labelled(8)
    assert fitted.held_out_NC is not None
    zero_shot_NC = fitted.base_scale * logits_NF[:, :NUM_CLASSES]
    assert shift_to_zero_shot(zero_shot_NC, fitted.held_out_NC, [0, 2, 3, 5]) == pytest.approx(
        0.0, abs=1e-4
    )


def test_one_class_with_labels_changes_nothing() -> None:
    logits_NF, labels_N = world([3, 0, 0, 0, 0, 0], seed=1)
    fitted = fit_head("anchored", logits_NF[None], labels_N, NUM_CLASSES, 5, 3)
    fresh_NF, _ = world([5] * NUM_CLASSES, seed=2)
    expected = fresh_NF[:, :NUM_CLASSES].argmax(axis=1)
    np.testing.assert_array_equal(fitted.head(fresh_NF).argmax(axis=1), expected)
