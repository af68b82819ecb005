"""Which state of a training is returned: decided on validation data, whatever is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from craft_ray.config.fidelity import Selection
from craft_ray.training.classifier import (
    PromptClassifier,
    Score,
    TunedClassifier,
    restore_classifier,
    score_logits,
)
from craft_ray.training.metered import MeteredOracle
from craft_ray.training.state import TrainerState
from craft_ray.training.task import PreparedTask

SELECTED_PREFIX = "selected."
"""Of its arrays in the state of a training."""


@dataclass(frozen=True)
class Selected:
    """The state that would be returned now."""

    classifier: TunedClassifier
    validation: Score
    generation: int

    def values(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            **asdict(self.validation),
            "generation": self.generation,
            "kind": self.classifier.kind,
            "extra_names": list(self.classifier.extra_names),
        }

    @classmethod
    def from_state(cls, state: TrainerState) -> Selected:
        """What a stored training would return."""
        values = state.values["selected"]
        arrays = state.group(SELECTED_PREFIX)
        return cls(
            restore_classifier(values["kind"], arrays, values["extra_names"]),
            Score(**{f.name: float(values[f.name]) for f in fields(Score)}),
            int(values["generation"]),
        )


class Selector:
    """Validates working states and keeps the one to return.

    Before anything is tuned the untouched classifier (zero-shot) is validated; under
    `best_validation` it competes like every other state, so that tuning does not return what
    validation says is worse.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets.
        rule: `best_validation`, or `last`.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, rule: Selection) -> None:
        self._oracle = oracle
        self._prepared = prepared
        self._rule = rule
        self._selected: Selected | None = None

    @property
    def selected(self) -> Selected:
        """What would be returned now; zero-shot before anything else was considered."""
        if self._selected is None:
            zero_shot = PromptClassifier(self._prepared.task.initial_context, None)
            self._selected = Selected(zero_shot, self._validate(zero_shot), 0)
        return self._selected

    def consider(self, classifier: TunedClassifier, generation: int) -> Score:
        """Validate a working state and keep it if the rule says so. It must not change later."""
        score = self._validate(classifier)
        takes_last = self._rule == "last" and np.isfinite(score.loss)
        if takes_last or score.is_better_than(self.selected.validation):
            self._selected = Selected(classifier, score, generation)
        return score

    def restore(self, state: TrainerState) -> None:
        """Continue where a stored training was."""
        self._selected = Selected.from_state(state)

    def _validate(self, classifier: TunedClassifier) -> Score:
        images = self._prepared.validation
        logits_NC = classifier.predict(self._oracle, self._prepared.classes, images.handle)
        return score_logits(logits_NC, images.labels_N)
