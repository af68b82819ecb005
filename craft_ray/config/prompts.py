"""Where candidates lie: the search space of the prompt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import PlaceText, absolute, is_address

ProjectionKind = Literal["gaussian", "per_token", "low_rank", "fastfood"]
"""Kinds of A, each made in `craft_ray.method.projection`."""


class PromptConfig(Settings):
    """p = p0 + A z (CraFT section 3.1)."""

    start: PlaceText | None = None
    """Where p0 is from: the classifier of an earlier run (its folder `best`), tuned on the same
    oracle, for these classes or for others. Default: the first words of `data.template`. The
    earlier prompt competes with all that is tuned; its head is not taken over."""

    per_class: bool = False
    """A context for each class, from the same start and all moved by one z, in place of one for all
    (CoOp's class-specific contexts). The same queries; for C classes, C times the numbers that are
    sent, and an A of C times the size."""
    intrinsic_dim: int = Field(512, ge=2)
    """Of z, the point that an optimizer moves."""
    projection: ProjectionKind = "gaussian"
    """The structure of the frozen A: Gaussian (the paper's), a block for each token of its own, one
    block that all tokens share, or a fast transform in place of a matrix."""
    projection_std: float = Field(1.0, gt=0)
    """Standard deviation of a value of A z for a z of length 1, whatever the projection."""
    projection_unit: Literal["absolute", "embedding"] = "absolute"
    """`embedding`: the standard deviation is in units of that of p0's token embeddings, over
    sqrt(intrinsic_dim), so that neither the model nor the dimension changes what it means (BBT, Sun
    et al., ICML 2022, section 3.2)."""

    @field_validator("start")
    @classmethod
    def _absolute(cls, start: str | None) -> str | None:
        # A run may be resumed from another folder.
        if start is None or is_address(start):
            return start
        return absolute(start)
