"""Logits of many names as points: standardised, in their principal components.

A black box's features have far fewer dimensions than it can be asked for logits, so most components
are empty. A linear head on the points is a linear head on the logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from craft_ray.method.heads.linear import LinearHead

NEGLIGIBLE = 1e-4
"""Standard deviations below this share of the largest are the rounding of float32 logits."""
ROWS_PER_BLOCK = 8192
"""Of products in float64."""


@dataclass(frozen=True)
class Points:
    """What heads are fitted to: M images and views, R components that are not empty.

    Attributes:
        mean_F: of the logits, float64.
        basis_FR: from logits without their mean to points, float64.
        variances_R: of the points over all rows; they sum up to one, so that penalties mean the
            same whatever the number of logits.
        values_MR: the points, float32.
    """

    mean_F: torch.Tensor
    basis_FR: torch.Tensor
    variances_R: torch.Tensor
    values_MR: torch.Tensor

    @classmethod
    def of(cls, logits_MF: torch.Tensor, *, standardised: bool = True) -> Points:
        """Of float32 logits; features keep their own metric, and are not standardised."""
        mean_F, gram_FF = _moments(logits_MF)
        std_F = gram_FF.diagonal().clamp(min=0.0).sqrt()
        # A name that never changes its logit says nothing; dividing by its std would be noise.
        inverse_F = torch.where(std_F > NEGLIGIBLE, 1 / std_F.clamp(min=NEGLIGIBLE), 0.0)
        if not standardised:
            inverse_F = torch.ones_like(std_F)
        values, vectors_FF = torch.linalg.eigh(inverse_F[:, None] * gram_FF * inverse_F)
        kept = values > NEGLIGIBLE**2 * values[-1]
        variances_R = values[kept].flip(0)
        length = variances_R.sum()
        basis_FR = inverse_F[:, None] * vectors_FF[:, kept].flip(1) / length.sqrt()
        points = cls(mean_F, basis_FR, variances_R / length, torch.empty(0))
        return cls(mean_F, basis_FR, points.variances_R, points.place(logits_MF))

    @property
    def rank(self) -> int:
        """R."""
        return len(self.variances_R)

    def part(self, chosen: torch.Tensor | slice) -> Points:
        """Some of the rows; the components stay."""
        return replace(self, values_MR=self.values_MR[chosen])

    def place(self, logits_MF: torch.Tensor) -> torch.Tensor:
        """Points of other rows, float32 [M, R]."""
        centred_MF = logits_MF - self.mean_F.float()
        return centred_MF @ self.basis_FR.float()

    def head(
        self,
        weight_RC: torch.Tensor,
        bias_C: torch.Tensor,
        base_scale: float,
        offset_FC: torch.Tensor | None = None,
    ) -> LinearHead:
        """From a head on points to one on logits, whose first C, or what `offset_FC` makes of all,
        are corrected: `base_scale` of them is added."""
        weight_FC = self.basis_FR @ weight_RC.double()
        bias_C = bias_C.double() - self.mean_F @ weight_FC
        if base_scale and offset_FC is not None:
            weight_FC += base_scale * offset_FC
        elif base_scale:
            num_classes = len(bias_C)
            weight_FC[:num_classes].diagonal().add_(base_scale)
        return LinearHead(weight_FC.float().numpy(), bias_C.float().numpy())


def _moments(logits_MF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [F] and covariance [F, F], float64."""
    mean_F = logits_MF.mean(dim=0, dtype=torch.float64)
    num_logits = logits_MF.shape[1]
    gram_FF = torch.zeros(num_logits, num_logits, dtype=torch.float64, device=logits_MF.device)
    for block_mF in torch.split(logits_MF, ROWS_PER_BLOCK):
        centred_mF = block_mF - mean_F
        gram_FF.addmm_(centred_mF.T, centred_mF)
    return mean_F, gram_FF / len(logits_MF)
