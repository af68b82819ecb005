"""How well a linear head on a candidate's logits would do on images that it did not see.

For every candidate the best head is known in closed form, so a search need not train one beside it
(variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 1973). The head is ridge regression
on the classes as 0 and 1; what it would do on unseen images is its error on the training images,
corrected for the degrees of freedom that it used up there: generalised cross-validation (Golub,
Heath and Wahba, Technometrics 1979, equation 1.4),

    V(penalty) = (1/N) ||(I - H) Y||^2 / (1 - tr(H) / N)^2,   H: from targets to fitted values.

It needs the second moments of the logits and no logit itself, so that images may come in blocks.

Second moments lose digits where the mean is large, so they are taken in float64. A GPU that has
1/64 of its speed there takes them in float32, of logits from which the mean of the first block has
been subtracted; that changes the error by about 1e-5 of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

RELATIVE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Shares of the logits' total variance; the one with the lowest error counts."""
NEGLIGIBLE = 1e-13
"""A variance below this share of the mean square is the rounding of float32."""


FAST_FLOAT64 = frozenset({(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)})
"""Compute capabilities with a half of float32's speed: P100, V100, A100, H100 and B200."""


def has_fast_float64(device: torch.device) -> bool:
    """Whether float64 is worth its time on this device."""
    if device.type != "cuda":
        return True
    return torch.cuda.get_device_capability(device) in FAST_FLOAT64


@dataclass(frozen=True)
class LogitMoments:
    """Moments of the F logits of an image under K candidates and of its class, summed over images,
    all float64. Those of several sets of images add up if their shift is the same."""

    num_images: int
    shift_KF: torch.Tensor | None
    """What has been subtracted from each logit before its moments were taken in float32."""
    sum_KF: torch.Tensor
    square_KFF: torch.Tensor
    of_class_KFC: torch.Tensor
    """Sum of the logits of each class's images."""
    counts_C: torch.Tensor

    @classmethod
    def of(
        cls,
        logits_KnF: torch.Tensor,
        labels_n: torch.Tensor,
        num_classes: int,
        shift_KF: torch.Tensor | None = None,
    ) -> LogitMoments:
        """Of n images, in float64, or in float32 where a shift is given."""
        if shift_KF is None:
            x_KnF = logits_KnF.double()
        else:
            x_KnF = (logits_KnF - shift_KF[:, None]).float()
        one_hot_nC = F.one_hot(labels_n, num_classes).to(x_KnF.dtype)
        return cls(
            num_images=len(labels_n),
            shift_KF=shift_KF,
            sum_KF=x_KnF.sum(dim=1, dtype=torch.float64),
            square_KFF=(x_KnF.mT @ x_KnF).double(),
            of_class_KFC=(x_KnF.mT @ one_hot_nC).double(),
            counts_C=one_hot_nC.sum(dim=0, dtype=torch.float64),
        )

    def __add__(self, other: LogitMoments) -> LogitMoments:
        return LogitMoments(
            num_images=self.num_images + other.num_images,
            shift_KF=self.shift_KF,
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
        if self.shift_KF is not None:
            gram_KFF = gram_KFF.float()
        values_KF, vectors_KFF = (part.double() for part in torch.linalg.eigh(gram_KFF))
        values_KF = values_KF.clamp(min=0.0)
        loadings_KF = ((vectors_KFF.mT @ cross_KFC) ** 2).sum(dim=2)
        scale_K1 = values_KF.sum(dim=1, keepdim=True)
        # Where all images have the same logits, nothing is fitted, and any scale will do.
        square_K1 = self._raw_squares().sum(dim=1, keepdim=True)
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

    def _raw_squares(self) -> torch.Tensor:
        """[K, F] sums of squares of the logits as they were."""
        squares_KF = self.square_KFF.diagonal(dim1=1, dim2=2)
        if self.shift_KF is None:
            return squares_KF
        shift_KF = self.shift_KF.double()
        return squares_KF + shift_KF * (2 * self.sum_KF + self.num_images * shift_KF)
