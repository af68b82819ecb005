"""The metric that texts of length one fix, on features that are known."""

from __future__ import annotations

import numpy as np

from benchmarks.hidden_gap import metric_upgrade


def test_lengths_and_angles_come_back_where_the_texts_are_enough() -> None:
    rng = np.random.default_rng(0)
    dim = 20
    images_MD = rng.normal(size=(300, dim)) * np.linspace(0.1, 3.0, dim)
    texts_FD = rng.normal(size=(dim * (dim + 1), dim)) * np.linspace(2.0, 0.2, dim)
    texts_FD /= np.linalg.norm(texts_FD, axis=1, keepdims=True)
    logits_MF = images_MD @ texts_FD.T
    points_MR = logits_MF @ metric_upgrade(logits_MF)
    assert points_MR.shape == images_MD.shape
    truth_MM = images_MD @ images_MD.T
    error = np.linalg.norm(points_MR @ points_MR.T - truth_MM) / np.linalg.norm(truth_MM)
    assert error < 0.05
