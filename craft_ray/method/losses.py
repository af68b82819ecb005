"""The two sides of collaborative fine-tuning (CraFT section 3.3).

Each side has a cross-entropy and a consistency term that pulls it towards the other. The
direction of each divergence is that of the authors' code: KL(target || input).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

FUSED_CLASSES = 16
"""A CPU's log-softmax of rows is 2 to 8 times as fast as that of columns, and with fewer classes
than a vector register holds three times as slow (measured with AVX-512)."""


def divergence(target_NC: torch.Tensor, input_NC: torch.Tensor) -> torch.Tensor:
    """KL(softmax(target) || softmax(input)) of logits [..., C], for each row: [...]."""
    return _divergence(target_NC, F.log_softmax(input_NC, dim=-1))


def _divergence(target_NC: torch.Tensor, log_input_NC: torch.Tensor) -> torch.Tensor:
    """The same, from the logarithms of the second softmax."""
    log_target_NC = F.log_softmax(target_NC, dim=-1)
    return (log_target_NC.exp() * (log_target_NC - log_input_NC)).sum(dim=-1)


def prompt_losses(
    logits_PNC: torch.Tensor,
    refined_PNC: torch.Tensor | None,
    labels_N: torch.Tensor,
    consistency: float,
) -> torch.Tensor:
    """What a candidate prompt is scored by: CE(l, y) + w KL(refined || l), for each image.

    The cross-entropy is that of the raw logits. Without a head the second term is absent.
    Returns float [P, N]; a candidate's loss is the mean over images.
    """
    labels_PN = labels_N.expand(logits_PNC.shape[:2])
    if logits_PNC.device.type == "cpu" and logits_PNC.shape[2] < FUSED_CLASSES:
        losses_PN = F.cross_entropy(logits_PNC.transpose(1, 2), labels_PN, reduction="none")
        if refined_PNC is not None and consistency > 0:
            losses_PN = losses_PN + consistency * divergence(refined_PNC, logits_PNC)
        return losses_PN
    log_PNC = F.log_softmax(logits_PNC, dim=-1)
    losses_PN = -log_PNC.gather(2, labels_PN[:, :, None])[:, :, 0]
    if refined_PNC is not None and consistency > 0:
        losses_PN = losses_PN + consistency * _divergence(refined_PNC, log_PNC)
    return losses_PN


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
