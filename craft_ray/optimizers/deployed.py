"""Which point of a search becomes the prompt."""

from __future__ import annotations

from craft_ray.config.fidelity import DeployedPrompt
from craft_ray.optimizers.base import FloatArray64, ZerothOrderOptimizer


def deployed_point(optimizer: ZerothOrderOptimizer, choice: DeployedPrompt) -> FloatArray64:
    """[D]. Once between `tell` and `ask`: a `resampled_mean` advances the random stream."""
    if choice == "resampled_mean":
        return optimizer.resampled_mean()
    return optimizer.best if choice == "best" else optimizer.mean
