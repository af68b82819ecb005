"""Settings of the paper's head, for tests that look at them."""

from __future__ import annotations

from craft_ray.config.heads import ResidualMlpConfig
from craft_ray.config.run import RunConfig


def mlp_of(config: RunConfig) -> ResidualMlpConfig:
    """Its head, which is the paper's."""
    assert isinstance(config.head, ResidualMlpConfig)
    return config.head
