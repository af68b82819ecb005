"""Our folds are scikit-learn's: what a seed has drawn before, it draws still."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.model_selection import StratifiedKFold

from craft_ray.method.stratified_folds import stratified_folds


@settings(max_examples=200, deadline=None)
@given(
    labels_N=arrays.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 8)),
    num_folds=st.integers(2, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_folds_are_those_of_scikit_learn(
    labels_N: npt.NDArray[np.int64], num_folds: int, seed: int
) -> None:
    num_folds = min(num_folds, int(np.bincount(labels_N).max()))
    if num_folds < 2:
        return
    theirs = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes with fewer images than folds
        expected = [rows for _, rows in theirs.split(labels_N, labels_N)]
    ours = stratified_folds(labels_N, num_folds, seed)
    assert len(ours) == num_folds
    for rows, expected_rows in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(rows, expected_rows)
        assert rows.dtype == expected_rows.dtype
