"""The refinement head: y = l + MLP(l)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from craft_ray.method.head import RefinementHead


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_head_adds_a_relu_mlp_of_the_logits_to_the_logits() -> None:
    head = RefinementHead(3, 7, init="default", generator=seeded(0))
    logits = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    weights = {name: value.numpy() for name, value in head.state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == {
        "enter.weight": (7, 3),
        "enter.bias": (7,),
        "leave.weight": (3, 7),
        "leave.bias": (3,),
    }
    hidden = np.maximum(logits @ weights["enter.weight"].T + weights["enter.bias"], 0)
    expected = logits + hidden @ weights["leave.weight"].T + weights["leave.bias"]
    with torch.inference_mode():
        refined = head(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(refined, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(refined - logits).max() > 1e-3


def test_the_first_refined_logits_are_the_raw_ones() -> None:
    logits = torch.randn(5, 3, generator=seeded(1)) * 100
    assert torch.equal(RefinementHead(3, 7, init="identity")(logits), logits)
    assert torch.equal(RefinementHead(3, 7)(logits), logits)


def test_a_head_that_starts_as_identity_can_still_learn() -> None:
    head = RefinementHead(3, 7, init="identity", generator=seeded(0))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    logits = torch.randn(5, 3, generator=seeded(1))
    for _ in range(2):  # the first step moves the last layer, the second also the first layer
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(logits), torch.zeros(5, dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert head.enter.weight.grad is not None
    assert head.enter.weight.grad.abs().max() > 0


@pytest.mark.parametrize("init", ["identity", "default"])
def test_the_start_is_drawn_from_the_given_generator_alone(init: str) -> None:
    torch.manual_seed(1)
    first = RefinementHead(3, 7, init, seeded(5)).state_dict()
    torch.manual_seed(2)
    again = RefinementHead(3, 7, init, seeded(5)).state_dict()
    other = RefinementHead(3, 7, init, seeded(6)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["enter.weight"], other["enter.weight"])


def test_the_default_start_is_torchs_own() -> None:
    # nn.Linear draws weights and biases from U(-1 / sqrt(in), 1 / sqrt(in)).
    head = RefinementHead(64, 400, init="default", generator=seeded(0))
    for layer, fan_in in ((head.enter, 64), (head.leave, 400)):
        bound = fan_in**-0.5
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= bound
            assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)
