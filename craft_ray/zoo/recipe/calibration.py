"""The oracle's logit scale, calibrated on CIFAR-10 training images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

MAX_LOGIT_SCALE = 100.0
"""CLIP's own upper limit (arXiv:2103.00020, section 2.5)."""


def calibrate_logit_scale(image_NF: Tensor, text_CF: Tensor, labels_N: Tensor) -> float:
    """The scale of the cosine similarities that minimises the mean negative log-likelihood.

    Args:
        image_NF: image embeddings; normalised here.
        text_CF: text features of the class prompts, normalised.
        labels_N: true classes.
    """
    cosine_NC = F.normalize(image_NF, dim=-1) @ text_CF.T
    scales = torch.logspace(0, math.log10(MAX_LOGIT_SCALE), 2001)
    losses = torch.stack([F.cross_entropy(scale * cosine_NC, labels_N) for scale in scales])
    return float(scales[losses.argmin()])
