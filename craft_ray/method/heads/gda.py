"""Gaussian discriminant analysis: classes with means of their own and one covariance, in closed
form (Wang et al., "A hard-to-beat baseline for training-free CLIP-based adaptation", ICLR 2024)."""

from __future__ import annotations

import numpy as np
import torch

SHARES = {1: 1e-3, 2: 0.1, 4: 0.1, 8: 1.0, 16: 10.0}
"""Of its scores beside the zero-shot logits, by images a class: the median of what the paper's own
logs chose for eleven data sets and three seeds; within a factor of ten on nearly all."""


NO_SPREAD = 1e-4
"""Share of all squares that lie within classes: below, it is rounding, and no covariance."""


def share_of_gda(shots: float) -> float:
    """Interpolated between those of the paper, in logarithms."""
    log_shots, log_shares = (np.log(np.array(list(each))) for each in (SHARES, SHARES.values()))
    return float(np.exp(np.interp(np.log(shots), log_shots, log_shares)))


NO_SPREAD = 1e-6
"""Share of the spread of all images below which that within classes is rounding."""


def fit_gda(
    points_MR: torch.Tensor, labels_M: torch.Tensor, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [R, C] and bias [C], float64. Classes count alike.

    Args:
        points_MR: principal components.
        labels_M: each class at least once.
        num_classes: C.
    """
    counts_C = torch.bincount(labels_M, minlength=num_classes).double()
    wide_MR = points_MR.double()
    sums_CR = torch.zeros(num_classes, points_MR.shape[1], dtype=torch.float64)
    sums_CR.index_add_(0, labels_M, wide_MR)
    return discriminants(wide_MR.T @ wide_MR, sums_CR, counts_C)


def discriminants(
    second_RR: torch.Tensor, sums_CR: torch.Tensor, counts_C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [R, C] and bias [C] from moments, float64.

    The inverse of the covariance is the empirical Bayes estimate of Kubokawa and Srivastava (J.
    Multivariate Anal. 2008), which exists for any number of images. Where all images of a class are
    the same, as one image without views is, nothing is known of it, and all weights are 0.

    Args:
        second_RR: sum over all images of x x'.
        sums_CR: of the images of each class.
        counts_C: their number, which need not be whole.
    """
    means_CR = sums_CR / counts_C[:, None]
    within_RR = second_RR - sums_CR.T @ means_CR
    rank = len(within_RR)
    if within_RR.trace() <= NO_SPREAD * second_RR.trace():
        return torch.zeros_like(means_CR.T), torch.zeros_like(counts_C)
    trace = within_RR.trace() / (counts_C.sum() - 1)
    shrunk_RR = within_RR + trace * torch.eye(rank, dtype=torch.float64)
    weight_RC: torch.Tensor = rank * torch.linalg.solve(shrunk_RR, means_CR.T)
    return weight_RC, -0.5 * (means_CR.T * weight_RC).sum(dim=0)
