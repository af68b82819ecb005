"""No training images (`data.shots: 0`): what is returned is the untouched model.

In: a prepared task, settings. Out: a `PromptClassifier` of the template and reports. There is one
generation, in which nothing is asked; zero-shot's answers about validation images, where there are
some, are the driver's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from craft_ray.classifiers.classifier import PromptClassifier, TunedClassifier
from craft_ray.oracle.contract import FloatArray
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.state import TrainerState


class UntouchedTrainer(Trainer):
    """Tunes nothing."""

    @property
    def finished(self) -> bool:
        """After one generation."""
        return self.generation >= 1

    def _tune(self) -> Losses:
        return Losses()

    def _working_classifier(self) -> PromptClassifier:
        return PromptClassifier(self._prepared.task.initial_context, None)

    def _validation_answers(self, working: TunedClassifier) -> FloatArray | None:
        """Those about zero-shot, which this is."""
        known_NC = self._prepared.zero_shot_NC
        return None if known_NC is None else known_NC[None]

    def _arrays(self) -> Mapping[str, Any]:
        return {}

    def _load_arrays(self, state: TrainerState) -> None:
        pass
