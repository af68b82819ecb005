"""Looking at what a training returned."""

from __future__ import annotations

from craft_ray.classifiers.classifier import PromptClassifier, TunedClassifier


def as_prompt(classifier: TunedClassifier) -> PromptClassifier:
    """The classifier of a method that tunes one prompt."""
    assert isinstance(classifier, PromptClassifier)
    return classifier
