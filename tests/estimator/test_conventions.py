"""scikit-learn's own checks of its conventions, on images that are made of its tables."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.utils.estimator_checks import check_estimator

from craft_ray import CraftClassifier
from tests.support.fake_oracle import FakeOracle

pytestmark = pytest.mark.slow

NO_TABLE = "images are no table: they have no features to count, no NaN and no sparse form"
ADAPTER = "the adapter of this test makes images of it, so that nothing is wrong with it"
DOES_NOT_APPLY = {
    "check_n_features_in": NO_TABLE,
    "check_n_features_in_after_fitting": NO_TABLE,
    "check_complex_data": NO_TABLE,
    "check_estimators_nan_inf": NO_TABLE,
    "check_estimators_empty_data_messages": NO_TABLE,
    "check_estimator_sparse_tag": NO_TABLE,
    "check_estimator_sparse_array": NO_TABLE,
    "check_estimator_sparse_matrix": NO_TABLE,
    "check_classifiers_train": "images of any size are taken: predict refuses none by its width",
    "check_fit1d": ADAPTER,
    "check_fit2d_predict1d": ADAPTER,
    "check_classifier_data_not_an_array": ADAPTER,
    "check_fit2d_1sample": "one image is refused in words of our own",
    "check_requires_y_none": "a folder of class folders needs no y, which the message says",
    "check_estimators_overwrite_params": "an oracle is a client: it remembers what it was asked",
}
"""Name of a check -> why it is none of ours."""


def pictures(X: Any) -> npt.NDArray[np.uint8]:
    """A row of numbers as an image of them."""
    rows = np.clip(128 + 20 * np.asarray(X, dtype=float), 0, 255).astype(np.uint8)
    return np.stack([np.resize(row, (8, 8, 3)) for row in rows])


class OnTables(CraftClassifier):
    """Takes what the checks give."""

    def fit(self, X: Any, y: Any = None) -> Self:
        return super().fit(pictures(X), y)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        return super().predict(pictures(X))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        return super().predict_proba(pictures(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.string = tags.no_validation = False
        tags.classifier_tags.poor_score = True  # nobody asked what the pictures show
        return tags


def test_scikit_learn_finds_its_conventions() -> None:
    settings = {"head.names": 5, "data.views": 1, "head.folds": 2}
    estimator = OnTables(oracle=FakeOracle(), settings=settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            estimator, expected_failed_checks=DOES_NOT_APPLY, on_fail=None, on_skip=None
        )
    failed = [each for each in results if each["status"] == "failed"]
    assert [(each["check_name"], each["exception"]) for each in failed] == []
    by_name = {each["check_name"]: each["status"] for each in results}
    assert DOES_NOT_APPLY.keys() <= by_name.keys(), "each exception is one that is made"
    passed = [name for name, status in by_name.items() if status == "passed"]
    assert len(passed) > 25
    assert {"check_estimators_pickle", "check_fit_idempotent", "check_set_params"} <= set(passed)


def test_the_checks_know_that_it_takes_images() -> None:
    tags = CraftClassifier().__sklearn_tags__()
    assert not tags.input_tags.two_d_array
    assert tags.estimator_type == "classifier"
