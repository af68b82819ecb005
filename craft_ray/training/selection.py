"""Which state of a training is returned: decided on validation data, whatever is trained."""

from __future__ import annotations

from collections.abc import Sequence
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

    Before anything is tuned the untouched classifier (zero-shot) is validated, and the prompt of an
    earlier run if this one starts from it; under `best_validation` they compete like every other
    state, so that tuning does not return what validation says is worse.

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
            self._selected = Selected(*self._best([zero_shot]), 0)
            if self._prepared.earlier_prompt_LE is not None:
                self.consider(PromptClassifier(self._prepared.earlier_prompt_LE, None), 0)
        return self._selected

    def consider(self, classifier: TunedClassifier, generation: int) -> Score:
        """Validate a working state and keep it if the rule says so. It must not change later.

        Under `best_validation` a head must be better than none: the prompt's own predictions, which
        the same answers give, compete. Returned is the score of the better one.
        """
        variants = classifier.variants() if self._rule == "best_validation" else (classifier,)
        best, score = self._best(variants)
        takes_last = self._rule == "last" and np.isfinite(score.loss)
        if takes_last or score.is_better_than(self.selected.validation):
            self._selected = Selected(best, score, generation)
        return score

    def restore(self, state: TrainerState) -> None:
        """Continue where a stored training was."""
        self._selected = Selected.from_state(state)

    def _best(self, variants: Sequence[TunedClassifier]) -> tuple[TunedClassifier, Score]:
        """The first of the best, and its score. All need the same answers."""
        images = self._prepared.validation
        logits_KNC = variants[0].ask(self._oracle, self._prepared.classes, images.handle)
        scored = [(v, score_logits(v.refine(logits_KNC), images.labels_N)) for v in variants]
        best = scored[0]
        for other in scored[1:]:
            if other[1].is_better_than(best[1]):
                best = other
        return best
