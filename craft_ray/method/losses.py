"""The two sides of collaborative fine-tuning (CraFT section 3.3).

Each side has a cross-entropy and a consistency term that pulls it towards the other. The
direction of each divergence is that of the authors' code: KL(target || input).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)


def divergence(target_NC: torch.Tensor, input_NC: torch.Tensor) -> torch.Tensor:
    """KL(softmax(target) || softmax(input)) of logits, for each row: [N]."""
    log_target = F.log_softmax(target_NC, dim=-1)
    log_input = F.log_softmax(input_NC, dim=-1)
    return (log_target.exp() * (log_target - log_input)).sum(dim=-1)


def prompt_losses(
    logits_PNC: torch.Tensor,
    refined_PNC: torch.Tensor | None,
    labels_N: torch.Tensor,
    consistency: float,
) -> torch.Tensor:
    """What a candidate prompt is scored by: CE(l, y) + w KL(refined || l), mean over images.

    The cross-entropy is that of the raw logits. Without a head the second term is absent.
    Returns float [P].
    """
    num_candidates, num_images, _ = logits_PNC.shape
    labels_PN = labels_N.expand(num_candidates, num_images)
    losses = F.cross_entropy(logits_PNC.transpose(1, 2), labels_PN, reduction="none").mean(dim=1)
    if refined_PNC is not None and consistency > 0:
        losses = losses + consistency * divergence(refined_PNC, logits_PNC).mean(dim=1)
    return losses


def head_loss(
    logits_NC: torch.Tensor,
    refined_NC: torch.Tensor,
    labels_N: torch.Tensor,
    consistency: float,
) -> torch.Tensor:
    """What the head is trained on: CE(refined, y) + w KL(l || refined), a scalar."""
    loss = F.cross_entropy(refined_NC, labels_N)
    if consistency > 0:
        loss = loss + consistency * divergence(logits_NC, refined_NC).mean()
    return loss
