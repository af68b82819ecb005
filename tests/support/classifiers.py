"""Looking at what a training returned."""

from __future__ import annotations

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.kinds import PromptClassifier


def as_prompt(classifier: TunedClassifier) -> PromptClassifier:
    """The classifier of a method that tunes one prompt."""
    assert isinstance(classifier, PromptClassifier)
    return classifier
