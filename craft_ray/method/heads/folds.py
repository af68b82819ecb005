"""Which training images are held out together."""

from __future__ import annotations

import numpy as np

from craft_ray.method.reduction import LabelArray


def assign_folds(
    labels_N: LabelArray, folds: int, seed: int, first_N: LabelArray | None
) -> LabelArray | None:
    """A fold for each image, that of the first one for its copies, every class spread over all of
    them; None where a class has one image: a head that never saw the class cannot be judged by it.
    """
    rows_N = np.arange(len(labels_N))
    first_N = rows_N if first_N is None else first_N
    # Of images that stand in several classes, each class but the first has none of its own.
    own_N = [rows_N[(labels_N == label) & (first_N == rows_N)] for label in np.unique(labels_N)]
    folds = min(folds, *map(len, own_N))
    if folds < 2:
        return None
    generator = np.random.default_rng(seed)
    folds_N = np.empty(len(labels_N), dtype=np.int64)
    for own in own_N:
        members = generator.permutation(own)
        # Classes start at different folds, or the first folds would get what does not divide.
        folds_N[members] = (np.arange(len(members)) + generator.integers(folds)) % folds
    same_fold_N: LabelArray = folds_N[first_N]
    return same_fold_N
