"""Folds of images, every class spread evenly over all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LabelArray = npt.NDArray[np.int64]


def stratified_folds(labels_N: LabelArray, num_folds: int, seed: int) -> list[LabelArray]:
    """Rows of each fold, ascending: those of scikit-learn's `StratifiedKFold` with `shuffle` and
    this `random_state`, to which stored runs were drawn. Its import costs a second of CPU.

    Args:
        labels_N: classes of the images. A class with fewer images than folds is in some only.
        num_folds: how many.
        seed: draws them.
    """
    # scikit-learn deals the images, sorted by the first appearance of their class, to the folds in
    # turn: that says how many images of a class each fold gets. A shuffle says which.
    _, first_C, class_N = np.unique(labels_N, return_index=True, return_inverse=True)
    rank_of_class_C = np.argsort(np.argsort(first_C))
    class_N = rank_of_class_C[class_N]
    num_classes = len(first_C)
    sorted_N = np.sort(class_N)
    counts_BC = [
        np.bincount(sorted_N[fold::num_folds], minlength=num_classes) for fold in range(num_folds)
    ]
    generator = np.random.RandomState(seed)
    fold_N = np.empty(len(labels_N), np.int64)
    for label in range(num_classes):
        folds = np.repeat(np.arange(num_folds), [counts_C[label] for counts_C in counts_BC])
        generator.shuffle(folds)
        fold_N[class_N == label] = folds
    return [np.flatnonzero(fold_N == fold) for fold in range(num_folds)]
