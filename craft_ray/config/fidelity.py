"""Choices in which the authors' code and a careful implementation differ.

`corrected` is the default; `reference` follows the authors' procedure. Every switch can also be
set alone: `{preset: corrected, deployed_prompt: best}`.

What is a quantity and no switch stands in its own section, whatever the preset says; the authors'
fresh views (`data.views: fresh`) are one of them. `tune_spaces/paper` sets all of it for each data
set, and docs/reference.md lists it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from craft_ray.config.base import Settings

Selection = Literal["best_validation", "last"]
DeployedPrompt = Literal["mean", "best", "resampled_mean"]

PRESETS: dict[str, dict[str, str]] = {
    "corrected": {
        "deployed_prompt": "mean",
        "head_inputs": "logits",
        "fitness_images": "plain",
        "head_init": "identity",
        "selection": "best_validation",
    },
    "reference": {
        "deployed_prompt": "resampled_mean",
        "head_inputs": "unnormalized_logits",
        "fitness_images": "one_augmentation",
        "head_init": "default",
        "selection": "last",
    },
}


class FidelityConfig(Settings):
    """Named switches; `preset` gives those that are not set."""

    preset: Literal["corrected", "reference"] = "corrected"
    deployed_prompt: DeployedPrompt = "mean"
    """Mean of the search distribution, best candidate seen, or the mean of a second population
    that is drawn but never scored (the authors' code)."""
    head_inputs: Literal["logits", "unnormalized_logits"] = "logits"
    """What the head is trained on. The authors train on logits of unnormalised image features
    and test on normalised ones."""
    fitness_images: Literal["plain", "one_augmentation"] = "plain"
    """Candidates are scored on the plain images, or on one augmentation drawn once and kept."""
    head_init: Literal["identity", "default"] = "identity"
    """`identity`: the last layer starts at zero, so that refined = raw logits."""
    selection: Selection = "best_validation"
    """Which evaluated state is kept as the result. Zero-shot competes, and the prompt without its
    head. For a linear head on fixed contexts training images that it did not see count beside
    those of the validation. Test data never takes part."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"preset": value}
        if isinstance(value, dict):
            preset = value.get("preset", "corrected")
            return {**PRESETS.get(preset, {}), **value} if isinstance(preset, str) else value
        return value
