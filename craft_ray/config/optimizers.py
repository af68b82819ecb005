"""Settings of the zeroth-order optimizers. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from craft_ray.config.base import Settings


class SamplingConfig(Settings):
    """What every optimizer has that draws a population."""

    population: int = Field(40, ge=4)
    bound: Annotated[float, Field(gt=0)] | None = 5.0
    """|z_i| <= bound, or null."""


class CmaEsConfig(SamplingConfig):
    """CMA-ES through pycma."""

    kind: Literal["cma_es"] = "cma_es"
    sigma: float = Field(0.1, gt=0)
    """Initial step size: the perturbation scale of the search in z."""
    step_size_rule: Literal["csa", "tpa"] = "csa"


class RandomSearchConfig(SamplingConfig):
    """Independent draws, of which the best is kept: the floor for every other optimizer."""

    kind: Literal["random_search"] = "random_search"
    sigma: float = Field(0.1, gt=0)
    """Spread of the draws in z."""


def _kind_of(value: Any) -> str:
    kind = value.get("kind", "cma_es") if isinstance(value, dict) else getattr(value, "kind", "")
    return str(kind)


OptimizerConfig = Annotated[
    Annotated[CmaEsConfig, Tag("cma_es")] | Annotated[RandomSearchConfig, Tag("random_search")],
    Discriminator(_kind_of),
]
"""`kind` may be left out: it is then CMA-ES."""
