"""A reduction is the mean of the prompt's losses, in whatever blocks it is computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.method.head import RefinementHead
from craft_ray.method.losses import prompt_losses
from craft_ray.method.reduction import PromptLoss
from craft_ray.method.scoring import images_per_block, reduce_blocks, reduce_logits

K, N, C = 3, 11, 4
LOGITS = np.random.default_rng(0).normal(0, 5, (K, N, C)).astype(np.float32)
LABELS = np.arange(N) % C
HEAD = RefinementHead(C, 6, init="default", generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("head", [None, HEAD])
@pytest.mark.parametrize("consistency", [0.0, 0.3])
def test_it_is_the_mean_over_images(head: RefinementHead | None, consistency: float) -> None:
    logits = torch.from_numpy(LOGITS)
    with torch.inference_mode():
        refined = None if head is None else head(logits)
        losses = prompt_losses(logits, refined, torch.from_numpy(LABELS), consistency)
    reduction = PromptLoss(LABELS, None if head is None else head.weights(), consistency)
    expected = losses.double().mean(dim=1).numpy()
    reduced = reduce_logits(LOGITS, reduction)
    assert reduced.dtype == np.float64
    np.testing.assert_allclose(reduced, expected, rtol=1e-7)


@given(sizes=st.lists(st.integers(1, N), min_size=1, max_size=N))
def test_blocks_do_not_show(sizes: list[int]) -> None:
    cuts = [*np.cumsum(sizes)[np.cumsum(sizes) < N].tolist(), N]
    starts = [0, *cuts[:-1]]
    blocks = [torch.from_numpy(LOGITS[:, a:b]) for a, b in zip(starts, cuts, strict=True)]
    reduction = PromptLoss(LABELS, HEAD.weights(), 0.3)
    np.testing.assert_allclose(
        reduce_blocks(blocks, reduction), reduce_logits(LOGITS, reduction), rtol=1e-6
    )


def test_a_block_of_imagenet_size_is_bounded() -> None:
    assert images_per_block(num_candidates=10, num_logits=1000) * 10 * 1000 <= 1 << 22
    assert images_per_block(10, 1000, "cuda") * 10 * 1000 <= 1 << 26
    assert images_per_block(10, 1000, "another") == images_per_block(10, 1000)
    assert images_per_block(num_candidates=10_000, num_logits=1000) == 1


def test_read_only_arrays_are_taken() -> None:
    logits, labels = LOGITS.copy(), LABELS.copy()
    weights = HEAD.weights()
    for array in (logits, labels, weights["enter.weight"], weights["leave.bias"]):
        array.setflags(write=False)  # as Ray's object store hands them out
    reduce_logits(logits, PromptLoss(labels, weights, 0.1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PromptLoss(LABELS[:-1], None, 0.0), r"labels must be integers \[11\], but got .* \[10\]"),
        (PromptLoss(LABELS + 1, None, 0.0), r"labels must lie in \[0, 4\), but got 1 to 4"),
        (PromptLoss(LABELS - 1, None, 0.0), r"labels must lie in \[0, 4\), but got -1 to 2"),
        (PromptLoss(LABELS.astype(float), None, 0.0), "labels must be integers"),
        (PromptLoss(LABELS, None, float("nan")), "consistency >= 0 must hold, but got nan"),
        (PromptLoss(LABELS, None, -1.0), "consistency >= 0 must hold, but got -1"),
        (PromptLoss(LABELS, RefinementHead(5, 6).weights(), 0.1), "head must be of 4 classes"),
    ],
)
def test_what_does_not_fit_is_named(wrong: PromptLoss, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong.check(N, C)
