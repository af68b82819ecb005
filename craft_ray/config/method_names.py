"""What a run's method is called, where its trials are listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from craft_ray.config.distributions import Scalar
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.config.variants import VARIANT


def method_name(config: RunConfig) -> str:
    """In few words; an optimizer that is not the paper's is named as well."""
    if config.data.shots == 0:
        return "zero-shot"
    if config.method == "white_box":
        return "white box"
    if config.data.shots == 0:
        return "prompts alone"
    if (head := config.probing_head) is not None:
        if config.method == "head":
            names = {"probes": "probes", "features": "head on features"}
            return names.get(head.kind, "linear head")
        name = "searched probes" if head.kind == "probes" else "searched for a linear head"
    else:
        name = {"both": "CraFT", "prompt": "prompt only", "head": "head only"}[config.method]
    if config.optimizer.kind == "text":
        return "text prompt"
    if config.method == "head" or config.optimizer.kind == "cma_es":
        return name
    return f"{name}, {config.optimizer.kind}"


def trial_name(space: SpaceConfig, params: Mapping[str, Any]) -> str:
    """A trial's variant, where the space has some, or else its method."""
    if VARIANT in params:
        return str(params[VARIANT])
    values: Mapping[str, Scalar] = params
    return method_name(space.resolve(values))
