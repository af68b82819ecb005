"""The losses against a straight-line transcription of the formulas in plain numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from craft_ray.method import losses
from craft_ray.method.head import RefinementHead
from craft_ray.method.losses import divergence, head_loss, prompt_losses

P, N, C = 2, 5, 3
LABELS = np.array([0, 2, 1, 1, 0])

Float64 = npt.NDArray[np.float64]


def probabilities(logits_C: Float64) -> Float64:
    shares: Float64 = np.exp(logits_C) / np.exp(logits_C).sum()
    return shares


def cross_entropy(logits_C: Float64, label: int) -> float:
    return -float(np.log(probabilities(logits_C)[label]))


def kl(p_logits_C: Float64, q_logits_C: Float64) -> float:
    """KL(softmax(p) || softmax(q)) = sum p (log p - log q)."""
    p, q = probabilities(p_logits_C), probabilities(q_logits_C)
    return float(sum(p[c] * (np.log(p[c]) - np.log(q[c])) for c in range(len(p))))


def expected_prompt_loss(logits_NC: Float64, refined_NC: Float64, weight: float) -> float:
    """CE(l, y) + w KL(refined || l): the mean over images."""
    terms = [
        cross_entropy(logits_NC[n], LABELS[n]) + weight * kl(refined_NC[n], logits_NC[n])
        for n in range(N)
    ]
    return float(np.mean(terms))


def expected_head_loss(logits_NC: Float64, refined_NC: Float64, weight: float) -> float:
    """CE(refined, y) + w KL(l || refined): the mean over images."""
    terms = [
        cross_entropy(refined_NC[n], LABELS[n]) + weight * kl(logits_NC[n], refined_NC[n])
        for n in range(N)
    ]
    return float(np.mean(terms))


any_logits = arrays(np.float64, (P, N, C), elements=st.floats(-8, 8))
weights = st.sampled_from([0.0, 0.01, 1.0, 10.0])
labels = torch.from_numpy(LABELS)


@given(raw=any_logits, refined=any_logits, weight=weights)
def test_prompts_are_scored_by_the_cross_entropy_of_raw_logits_and_kl_of_refined_to_raw(
    raw: Float64, refined: Float64, weight: float
) -> None:
    losses = prompt_losses(torch.from_numpy(raw), torch.from_numpy(refined), labels, weight).mean(
        dim=1
    )
    assert losses.shape == (P,)
    expected = [expected_prompt_loss(raw[p], refined[p], weight) for p in range(P)]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-9, atol=1e-12)


@given(raw=any_logits, refined=any_logits, weight=weights)
def test_the_head_is_trained_on_the_cross_entropy_of_refined_logits_and_kl_of_raw_to_refined(
    raw: Float64, refined: Float64, weight: float
) -> None:
    loss = head_loss(torch.from_numpy(raw[0]), torch.from_numpy(refined[0]), labels, weight)
    expected = expected_head_loss(raw[0], refined[0], weight)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-9, atol=1e-12)


def test_without_a_head_prompts_are_scored_by_the_cross_entropy_alone() -> None:
    raw = np.random.default_rng(0).normal(size=(P, N, C))
    losses = prompt_losses(torch.from_numpy(raw), None, labels, 10.0).mean(dim=1)
    expected = [expected_prompt_loss(raw[p], raw[p], 0.0) for p in range(P)]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-9)


@given(target=any_logits, other=any_logits)
def test_a_divergence_is_never_negative_and_zero_between_equals(
    target: Float64, other: Float64
) -> None:
    values = divergence(torch.from_numpy(target), torch.from_numpy(other))
    assert values.shape == (P, N)
    assert (values >= -1e-12).all()
    shifted = torch.from_numpy(target + 3.0)  # softmax does not see a shift
    np.testing.assert_allclose(divergence(torch.from_numpy(target), shifted), 0, atol=1e-12)


def test_the_divergence_is_weighted_by_its_target() -> None:
    # The target is sure of class 0; the input has never heard of class 1, which costs nothing.
    target, other = torch.tensor([[30.0, 0.0]]), torch.tensor([[0.0, -30.0]])
    assert divergence(target, other).item() == pytest.approx(0, abs=1e-9)
    uniform = torch.tensor([[0.0, 0.0]])
    assert divergence(uniform, target).item() > 10
    assert divergence(target, uniform).item() == pytest.approx(np.log(2), abs=1e-6)


def test_losses_of_far_apart_logits_stay_finite() -> None:
    # 100 * cosine, refined without bounds: softmax underflows, the losses must not.
    raw = torch.tensor([[[500.0, -500.0, 0.0]] * N])
    losses = prompt_losses(raw, -raw, labels, 1.0).mean(dim=1)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(head_loss(raw[0], -raw[0], labels, 1.0))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_gradient_of_the_heads_loss_reaches_every_weight_of_the_head_and_nothing_else(
    weight: float,
) -> None:
    head = RefinementHead(C, 4, init="default", generator=torch.Generator().manual_seed(0))
    logits = torch.randn(N, C, generator=torch.Generator().manual_seed(1))
    before = logits.clone()
    head_loss(logits, head(logits), labels, weight).backward()  # type: ignore[no-untyped-call]
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert logits.grad is None
    assert torch.equal(logits, before)


@given(num_classes=st.integers(2, 40), seed=st.integers(0, 100), weight=weights)
def test_both_ways_to_compute_it_give_the_same(num_classes: int, seed: int, weight: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 7, num_classes)
    raw, refined = (5 * torch.randn(shape, generator=generator).double() for _ in range(2))
    true = torch.randint(0, num_classes, (7,), generator=generator)
    found = []
    for fused_classes in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(losses, "FUSED_CLASSES", fused_classes)
            found.append(prompt_losses(raw, refined, true, weight))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
