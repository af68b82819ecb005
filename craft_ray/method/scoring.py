"""From logits to one loss a candidate, beside the oracle or at the client.

It sees predictions only.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from craft_ray.method.cross_validation import LogitMoments, has_fast_float64
from craft_ray.method.head import RefinementHead
from craft_ray.method.losses import prompt_losses
from craft_ray.method.reduction import FloatArray, LinearHeadError, PromptLoss, Reduction

LossArray = npt.NDArray[np.float64]

LOGITS_PER_BLOCK = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Bounds the memory of a reduction: 16 or 256 MB of float32 logits and a few temporaries as large.
Small blocks stay in a CPU's caches; a GPU waits for the launches of each."""


def images_per_block(num_candidates: int, num_logits: int, device: str = "cpu") -> int:
    """Images whose logits are reduced at a time.

    Args:
        num_candidates: K.
        num_logits: of an image under a candidate, with those that a reduction brings.
        device: torch's name of its kind.
    """
    most = LOGITS_PER_BLOCK.get(device, LOGITS_PER_BLOCK["cpu"])
    return max(1, most // (num_candidates * num_logits))


@torch.inference_mode()
def reduce_blocks(blocks: Iterable[torch.Tensor], reduction: Reduction) -> LossArray:
    """The loss of every candidate, float64 [K].

    Args:
        blocks: logits [K, n, C] of consecutive images, all on one device.
        reduction: what becomes of the logits of all images.
    """
    if isinstance(reduction, PromptLoss):
        losses_K = _mean_prompt_loss(blocks, reduction)
    else:
        losses_K = _linear_head_error(blocks, reduction)
    losses: LossArray = losses_K.cpu().numpy()
    return losses


def _mean_prompt_loss(blocks: Iterable[torch.Tensor], reduction: PromptLoss) -> torch.Tensor:
    total_K: torch.Tensor | None = None
    head: RefinementHead | None = None
    labels_N = torch.tensor(reduction.labels_N)
    start = 0
    for block_KnC in blocks:
        if total_K is None:
            labels_N = labels_N.to(block_KnC.device)
            if reduction.head is not None:
                head = RefinementHead.from_weights(reduction.head).to(block_KnC.device)
        stop = start + block_KnC.shape[1]
        refined_KnC = None if head is None else head(block_KnC)
        losses_Kn = prompt_losses(
            block_KnC, refined_KnC, labels_N[start:stop], reduction.consistency
        )
        # In float64, so that the number of blocks does not show.
        sum_K = losses_Kn.sum(dim=1, dtype=torch.float64)
        total_K = sum_K if total_K is None else total_K + sum_K
        start = stop
    assert total_K is not None
    assert start == len(reduction.labels_N)
    return total_K / start


def _linear_head_error(blocks: Iterable[torch.Tensor], reduction: LinearHeadError) -> torch.Tensor:
    total: LogitMoments | None = None
    shift_KF: torch.Tensor | None = None
    labels_N, known_NF = torch.tensor(reduction.labels_N), torch.tensor(reduction.known_NF)
    start = 0
    for block_KnC in blocks:
        if total is None:
            labels_N, known_NF = (t.to(block_KnC.device) for t in (labels_N, known_NF))
        stop = start + block_KnC.shape[1]
        known_KnF = known_NF[start:stop].expand(len(block_KnC), -1, -1)
        logits_KnF = torch.cat([known_KnF, block_KnC], dim=2)
        if total is None and not has_fast_float64(block_KnC.device):
            shift_KF = logits_KnF.mean(dim=1)
        labels_n = labels_N[start:stop]
        moments = LogitMoments.of(logits_KnF, labels_n, reduction.num_classes, shift_KF)
        total = moments if total is None else total + moments
        start = stop
    assert total is not None
    assert start == len(reduction.labels_N)
    return total.held_out_errors()


def reduce_logits(logits_KNC: FloatArray, reduction: Reduction) -> LossArray:
    """The same from logits at hand: the client's side, where an oracle does not reduce."""
    num_candidates, _, num_logits = logits_KNC.shape
    # `copy`: answers from the object store are read-only, which torch warns about.
    logits = torch.from_numpy(logits_KNC.copy())
    size = images_per_block(num_candidates, num_logits + reduction.num_known)
    return reduce_blocks(torch.split(logits, size, dim=1), reduction)
