"""Labels that may be wrong are found, and right ones left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.classifiers.label_issues import LabelIssues


def found(probabilities: list[list[float]], labels: list[int]) -> list[tuple[int, int]]:
    """Place and suggested class."""
    issues: LabelIssues[int] = LabelIssues(len(probabilities[0]))
    issues.add(np.array(probabilities), np.array(labels), range(len(labels)))
    return [(issue.image, issue.suggested) for issue in issues.found]


def test_a_flipped_label_is_found_and_a_hard_image_is_not() -> None:
    # Class 0 is 0.9 likely on average where it is the label.
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05], [0.6, 0.4]]
    assert found(probabilities, [0, 0, 0, 1, 1, 1]) == [(4, 0)]


def test_the_surest_come_first() -> None:
    probabilities = [[0.5, 0.5], [0.8, 0.2], [0.99, 0.01], [0.2, 0.8]]
    assert [place for place, _ in found(probabilities, [0, 1, 1, 1])] == [2, 1]


def test_a_class_that_is_nobodys_label_is_not_suggested() -> None:
    assert found([[0.1, 0.9], [0.9, 0.1]], [0, 0]) == []


def test_what_is_not_finite_says_nothing() -> None:
    assert found([[float("nan"), 0.9], [0.9, 0.1], [0.2, 0.8]], [0, 0, 1]) == []


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.2))
def test_flipped_labels_of_a_good_classifier_are_found(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 200)
    probabilities = np.full((200, 4), 0.02)
    probabilities[np.arange(200), truth] = 0.94
    is_flipped = rng.random(200) < share
    labels = np.where(is_flipped, (truth + 1) % 4, truth)
    issues: LabelIssues[int] = LabelIssues(4)
    for part in np.array_split(np.arange(200), 7):  # batches change nothing
        issues.add(probabilities[part], labels[part], part.tolist())
    places = {issue.image for issue in issues.found}
    assert places == set(np.flatnonzero(is_flipped).tolist())


def test_what_is_said_of_one() -> None:
    issues: LabelIssues[str] = LabelIssues(2)
    issues.add(np.array([[0.9, 0.1], [0.95, 0.05]]), np.array([0, 1]), ["a", "b"])
    (issue,) = issues.found
    assert (issue.image, issue.label, issue.suggested) == ("b", 1, 0)
    assert (issue.probability, issue.of_label) == pytest.approx((0.95, 0.05))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(0.0, 3.0))
def test_the_same_as_cleanlab_finds(seed: int, num_classes: int, sureness: float) -> None:
    cleanlab = pytest.importorskip("cleanlab.filter", reason="compared with where it is installed")
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, 60)
    truth[:num_classes] = np.arange(num_classes)  # cleanlab wants each class
    logits = rng.normal(0, 1, (60, num_classes)) + sureness * np.eye(num_classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_flipped = rng.random(60) < 0.2
    is_flipped[:num_classes] = False
    labels = np.where(is_flipped, rng.integers(0, num_classes, 60), truth)
    theirs = cleanlab.find_label_issues(
        labels, probabilities, filter_by="confident_learning", n_jobs=1
    )
    ours = {place for place, _ in found(probabilities.tolist(), labels.tolist())}
    assert ours == set(np.flatnonzero(theirs).tolist())


def test_what_cleanlab_found() -> None:
    # Computed with cleanlab 2.9.0, find_label_issues(filter_by="confident_learning"). Image 4
    # reaches the threshold of class 2 alone, 0.25, and is likeliest of class 1: in doubt as well.
    probabilities = [
        [0.9, 0.05, 0.05],
        [0.05, 0.9, 0.05],
        [0.35, 0.25, 0.4],
        [0.8, 0.1, 0.1],
        [0.25, 0.45, 0.3],
        [0.48, 0.42, 0.1],
        [0.1, 0.7, 0.2],
    ]
    assert found(probabilities, [0, 1, 2, 2, 0, 1, 0]) == [(3, 0), (6, 1), (4, 1), (5, 0)]
