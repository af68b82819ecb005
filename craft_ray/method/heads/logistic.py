"""Multinomial logistic regression that corrects given logits, in few gradients.

    min over W, b of  mean cross-entropy(t l + x W + b) + penalty / 2 ||(W, b)||^2

A gradient of 96,000 rows, 512 components and 1,000 classes is 2e11 operations: their number is what
a fit costs. The Hessian is at most 1/2 X'X / M in every class (Boehning, Ann. Inst. Statist. Math.
1992), and X'X is diagonal, as x are principal components: in coordinates scaled by the root of that
bound L-BFGS needs a half to a third of the gradients.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

MAX_GRADIENTS = 25


def fit_logistic(
    points_MR: torch.Tensor,
    variances_R: torch.Tensor,
    base_MC: torch.Tensor,
    labels_M: torch.Tensor,
    penalty: float,
    max_gradients: int = MAX_GRADIENTS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [R, C] and bias [C], float32.

    Args:
        points_MR: centred principal components, float32.
        variances_R: of them.
        base_MC: t l, float32.
        labels_M: the classes.
        penalty: see above.
        max_gradients: after so many no further step is begun; the last one may take a few more.
    """
    # Here: a process that uses heads but fits none does not load it. torch's own solver would load
    # torch's compiler, which takes longer than most fits.
    from scipy.optimize import minimize

    bound_S = torch.cat([0.5 * variances_R, variances_R.new_tensor([0.5])]) + penalty
    scales_S1 = bound_S.rsqrt().float()[:, None]
    shape = (len(bound_S), base_MC.shape[1])
    rows_M = torch.arange(len(labels_M), device=labels_M.device)

    def weights_of(values: npt.NDArray[np.float64]) -> torch.Tensor:
        """[R + 1, C], the last row is the bias."""
        return torch.from_numpy(values.reshape(shape)).to(scales_S1) * scales_S1

    def objective(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights_SC = weights_of(values)
        final_MC = torch.addmm(base_MC, points_MR, weights_SC[:-1]).add_(weights_SC[-1])
        slopes_MC = F.log_softmax(final_MC, dim=1)
        loss = -slopes_MC[rows_M, labels_M].mean() + penalty / 2 * weights_SC.square().sum()
        slopes_MC.exp_()[rows_M, labels_M] -= 1.0
        slopes_MC /= len(labels_M)
        gradient_SC = torch.cat([points_MR.T @ slopes_MC, slopes_MC.sum(dim=0, keepdim=True)])
        gradient_SC = (gradient_SC + penalty * weights_SC) * scales_S1
        return float(loss), gradient_SC.double().cpu().numpy().ravel()

    with torch.inference_mode():
        found = minimize(
            objective,
            np.zeros(shape).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxfun": max_gradients - 1, "maxiter": max_gradients},
        )
        weights_SC = weights_of(found.x)
    return weights_SC[:-1], weights_SC[-1]
