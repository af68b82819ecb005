"""Ridge regression from the logits of names to the classes as 0 and 1, without the classes' names.

Zanella, Fuchs, De Vleeschouwer and Ben Ayed, "Vocabulary-free few-shot learning for vision-language
models" (SiM, arXiv 2506.04005, equation 4): W = (L'L + lambda I)^-1 L'Y, L the cosines of the plain
images. A published baseline of few-shot learning from predictions.
"""

from __future__ import annotations

import torch

RIDGE = 0.1
"""lambda for names of ImageNet's classes, whatever the task."""


def fit_similarity(
    cosines_NF: torch.Tensor, labels_N: torch.Tensor, num_classes: int
) -> torch.Tensor:
    """Weights [F, C], float64.

    Args:
        cosines_NF: of the plain images with the names.
        labels_N: the classes.
        num_classes: C.
    """
    cosines_NF = cosines_NF.double()
    targets_NC = torch.zeros(len(labels_N), num_classes, dtype=torch.float64)
    targets_NC[torch.arange(len(labels_N)), labels_N] = 1.0
    ridge_FF = RIDGE * torch.eye(cosines_NF.shape[1], dtype=torch.float64)
    gram_FF = cosines_NF.T @ cosines_NF + ridge_FF
    weight_FC: torch.Tensor = torch.linalg.solve(gram_FF, cosines_NF.T @ targets_NC)
    return weight_FC
