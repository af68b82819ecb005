"""What unlabelled images of the same world add to a head.

Expectation maximisation of a Gaussian mixture with one covariance, anchored to the head that was
fitted to the labelled images: every unlabelled image belongs to each class by

    softmax(L + share * g),   L: the head's logits, g: scores of the discriminant analysis,

and g is fitted anew to the labelled images and to the unlabelled ones by these shares. What is
found is added to the head: y = L + share * g. Unlike mixtures that start from zero-shot (StatA,
Zanella et al., CVPR 2025) it stays near what the labels say where zero-shot knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from craft_ray.method.heads.gda import discriminants

ROUNDS = 8
FEW_IMAGES = 12
"""A class, labelled or not: with fewer, the mixture is a guess, and its scores count less."""
NO_IMAGES = 1e-9
SHARES = {"few": 0.3, "many": 1.0}
LEAST_CLASSES = 0.7
"""Of the classes must be among the unlabelled images, as the mixture sees it. It takes each class
to be about as frequent as the others, and what is missing would be made of images of others."""


@dataclass(frozen=True)
class Mixture:
    """What the unlabelled images say.

    Attributes:
        weight_RC: of points, float64, to be added to the head's with those of the labelled images.
        bias_C: float64.
        frequencies_C: estimated shares of the classes among the unlabelled images.
    """

    weight_RC: torch.Tensor
    bias_C: torch.Tensor
    frequencies_C: torch.Tensor

    @property
    def num_classes_met(self) -> float:
        """The effective number of classes: the exponential of the frequencies' entropy."""
        return float(torch.exp(torch.special.entr(self.frequencies_C).sum()))

    @property
    def is_safe(self) -> bool:
        """Whether enough of the classes are there."""
        return self.num_classes_met >= LEAST_CLASSES * len(self.frequencies_C)


def share_of_mixture(images_per_class: float) -> float:
    """By which scores count beside the head's logits."""
    return SHARES["few" if images_per_class < FEW_IMAGES else "many"]


def fit_mixture(
    labelled_MR: torch.Tensor,
    labels_M: torch.Tensor,
    unlabelled_UR: torch.Tensor,
    head_UC: torch.Tensor,
    num_labelled: int,
) -> Mixture:
    """Eight rounds from the head's own view of the unlabelled images.

    Args:
        labelled_MR: points of the labelled images and of views of them.
        labels_M: their classes.
        unlabelled_UR: points of the others.
        head_UC: the head's logits of these, L.
        num_labelled: images with labels, views not counted.
    """
    num_classes = head_UC.shape[1]
    share = share_of_mixture((num_labelled + len(head_UC)) / num_classes)
    points_AR = torch.cat([labelled_MR, unlabelled_UR]).double()
    labelled_MC = F.one_hot(labels_M, num_classes).double()
    second_RR = points_AR.T @ points_AR
    head_UC = head_UC.double()
    belongs_UC = head_UC.softmax(dim=1)
    for _ in range(ROUNDS):
        belongs_AC = torch.cat([labelled_MC, belongs_UC])
        # A class without labels may have no image at all.
        counts_C = belongs_AC.sum(dim=0).clamp(min=NO_IMAGES)
        weight_RC, bias_C = discriminants(second_RR, belongs_AC.T @ points_AR, counts_C)
        scores_UC = points_AR[len(labelled_MR) :] @ weight_RC + bias_C
        belongs_UC = (head_UC + share * scores_UC).softmax(dim=1)
    return Mixture(share * weight_RC, share * bias_C, belongs_UC.mean(dim=0))
