"""How well a linear head on a candidate's logits would do on images that it did not see.

For every candidate the best head is known in closed form, so a search need not train one beside it
(variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 1973). The head is ridge regression
on the classes as 0 and 1; what it would do on unseen images is its error on the training images,
corrected for the degrees of freedom that it used up there: generalised cross-validation (Golub,
Heath and Wahba, Technometrics 1979, equation 1.4),

    V(penalty) = (1/N) ||(I - H) Y||^2 / (1 - tr(H) / N)^2,   H: from targets to fitted values.

It needs the second moments of the logits and no logit itself, so that images may come in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

RELATIVE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Shares of the logits' total variance; the one with the lowest error counts."""
NEGLIGIBLE = 1e-13
"""A variance below this share of the mean square is the rounding of float32."""


@dataclass(frozen=True)
class LogitMoments:
    """Moments of the F logits of an image under K candidates and of its class, summed over images,
    all float64. Those of several sets of images add up."""

    num_images: int
    sum_KF: torch.Tensor
    square_KFF: torch.Tensor
    of_class_KFC: torch.Tensor
    """Sum of the logits of each class's images."""
    counts_C: torch.Tensor

    @classmethod
    def of(cls, logits_KnF: torch.Tensor, labels_n: torch.Tensor, num_classes: int) -> LogitMoments:
        """Of n images."""
        logits_KnF = logits_KnF.double()
        one_hot_nC = F.one_hot(labels_n, num_classes).double()
        return cls(
            num_images=len(labels_n),
            sum_KF=logits_KnF.sum(dim=1),
            square_KFF=logits_KnF.mT @ logits_KnF,
            of_class_KFC=logits_KnF.mT @ one_hot_nC,
            counts_C=one_hot_nC.sum(dim=0),
        )

    def __add__(self, other: LogitMoments) -> LogitMoments:
        return LogitMoments(
            num_images=self.num_images + other.num_images,
            sum_KF=self.sum_KF + other.sum_KF,
            square_KFF=self.square_KFF + other.square_KFF,
            of_class_KFC=self.of_class_KFC + other.of_class_KFC,
            counts_C=self.counts_C + other.counts_C,
        )

    def held_out_errors(self) -> torch.Tensor:
        """Mean squared error of an image and a class under each candidate, float64 [K]; NaN where
        a logit was not finite."""
        num_images = self.num_images
        mean_KF = self.sum_KF / num_images
        # Both sides without their means: the head's bias is not penalised.
        gram_KFF = self.square_KFF - num_images * mean_KF[:, :, None] * mean_KF[:, None, :]
        cross_KFC = self.of_class_KFC - mean_KF[:, :, None] * self.counts_C
        total = (self.counts_C - self.counts_C**2 / num_images).sum()
        is_finite_K = torch.isfinite(gram_KFF).all(dim=2).all(dim=1)
        gram_KFF = torch.where(is_finite_K[:, None, None], gram_KFF, 0.0)
        values_KF, vectors_KFF = torch.linalg.eigh(gram_KFF)
        values_KF = values_KF.clamp(min=0.0)
        loadings_KF = ((vectors_KFF.mT @ cross_KFC) ** 2).sum(dim=2)
        scale_K1 = values_KF.sum(dim=1, keepdim=True)
        # Where all images have the same logits, nothing is fitted, and any scale will do.
        square_K1 = self.square_KFF.diagonal(dim1=1, dim2=2).sum(dim=1, keepdim=True)
        scale_K1 = torch.where(scale_K1 > NEGLIGIBLE * square_K1, scale_K1, 1.0)
        errors = []
        for penalty in RELATIVE_PENALTIES:
            inverse_KF = 1 / (values_KF + penalty * scale_K1)
            # ||Y - X B||^2 for B = (X'X + penalty)^-1 X'Y, in the eigenvectors of X'X.
            explained_KF = loadings_KF * inverse_KF * (2 - values_KF * inverse_KF)
            residual_K = total - explained_KF.sum(dim=1)
            free_K = num_images - 1 - (values_KF * inverse_KF).sum(dim=1)
            errors.append(residual_K * num_images / free_K**2)
        best_K = torch.stack(errors).amin(dim=0) / len(self.counts_C)
        return torch.where(is_finite_K, best_K, torch.nan)
