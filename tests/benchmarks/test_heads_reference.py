"""The reference solver goes to the minimum of the same objective as the shipped one."""

from __future__ import annotations

import torch

from benchmarks.heads_reference import fit_reference
from craft_ray.method.heads.logistic import fit_logistic

PENALTY = 1e-3


def test_both_solvers_find_the_same_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    points_MR = torch.randn(60, 6, generator=generator)
    points_MR -= points_MR.mean(dim=0)
    base_MC = torch.randn(60, 3, generator=generator)
    labels_M = torch.arange(60) % 3
    given = (points_MR, points_MR.double().square().mean(dim=0), base_MC, labels_M, PENALTY)
    expected_RC, expected_C = fit_reference(*given)
    assert expected_RC.dtype == torch.float64
    weight_RC, bias_C = fit_logistic(*given, max_gradients=200)
    torch.testing.assert_close(weight_RC.double(), expected_RC, atol=2e-3, rtol=0)
    torch.testing.assert_close(bias_C.double(), expected_C, atol=2e-3, rtol=0)

    final_MC = base_MC.double() + points_MR.double() @ expected_RC + expected_C
    slopes_MC = final_MC.softmax(dim=1) - torch.nn.functional.one_hot(labels_M, 3)
    gradient_RC = points_MR.double().T @ slopes_MC / 60 + PENALTY * expected_RC
    assert gradient_RC.abs().max() < 1e-8
