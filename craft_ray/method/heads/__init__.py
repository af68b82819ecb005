"""Linear heads on many answers an image, fitted without validation images."""

from __future__ import annotations

from craft_ray.method.heads.fit import FittedHead, fit_head
from craft_ray.method.heads.linear import LinearHead
from craft_ray.method.heads.offset import ChosenOffset, choose_offset
from craft_ray.method.heads.problem import Unlabelled

__all__ = [
    "ChosenOffset",
    "FittedHead",
    "LinearHead",
    "Unlabelled",
    "choose_offset",
    "fit_head",
]
