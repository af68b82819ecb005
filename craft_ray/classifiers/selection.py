"""Which state of a training is returned: decided on images that it was not fitted to.

Those are the validation images; and the training images, for a head that was fitted to answers and
nothing else and can be cross-validated. Few validation images tell a gain of some points from none
only together with them. Without validation images they decide alone; and where nothing was held out
either, what was tuned is returned, unjudged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.evidence import Evidence, best_evidence, right_images
from craft_ray.classifiers.kinds import PromptClassifier, restore_classifier
from craft_ray.classifiers.score import Score, score_logits
from craft_ray.config.fidelity import Selection
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import LabelArray, PreparedTask


@dataclass(frozen=True)
class Selected:
    """The state that would be returned now."""

    classifier: TunedClassifier
    evidence: Evidence
    generation: int

    @property
    def validation(self) -> Score | None:
        """Its score on the validation images; None: there are none."""
        return self.evidence.validation

    def values(self) -> dict[str, Any]:
        """What JSON can hold."""
        validation = self.validation
        before = self.evidence.zero_shot_held_out
        return {
            **{f.name: validation and getattr(validation, f.name) for f in fields(Score)},
            "generation": self.generation,
            "kind": self.classifier.kind,
            "extra_names": list(self.classifier.extra_names),
            "template": self.classifier.template,
            "prompts": list(self.classifier.prompts),
            "held_out": self.evidence.held_out and asdict(self.evidence.held_out),
            "zero_shot_held_out": before and asdict(before),
            "right": self.evidence.right,
        }

    @classmethod
    def restore(cls, values: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> Selected:
        """Inverse of `values` and the classifier's `arrays`."""
        validation = None if values["accuracy"] is None else _score_of(values)
        held_out, before = values["held_out"], values.get("zero_shot_held_out")
        names, template = values["extra_names"], values.get("template")
        return cls(
            restore_classifier(values["kind"], arrays, names, template, values.get("prompts", ())),
            Evidence(
                validation,
                held_out and _score_of(held_out),
                values["right"],
                before and _score_of(before),
            ),
            int(values["generation"]),
        )


def _score_of(values: Mapping[str, Any]) -> Score:
    return Score(**{f.name: float(values[f.name]) for f in fields(Score)})


@dataclass(frozen=True)
class HeldOut:
    """Scores on the held-out training images, see `Evidence`."""

    tuned: Score
    zero_shot: Score


class Selector:
    """Validates working states and keeps the one to return.

    Before anything is tuned the untouched classifier (zero-shot) is validated, and the prompt of an
    earlier run if this one starts from it; under `best_validation` they compete like every other
    state, so that tuning does not return what unseen images say is worse. Without validation images
    nothing is asked here.

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
            known_NC = self._prepared.zero_shot_NC
            answers_1NC = None if known_NC is None else known_NC[None]
            _, evidence = self._best([zero_shot], answers_1NC)
            self._selected = Selected(zero_shot, evidence, 0)
            if self._prepared.earlier_prompt_LE is not None:
                self.consider(PromptClassifier(self._prepared.earlier_prompt_LE, None), 0)
        return self._selected

    def consider(
        self,
        classifier: TunedClassifier,
        generation: int,
        held_out: HeldOut | None = None,
        answers_KNC: FloatArray | None = None,
    ) -> Score | None:
        """Validate a working state and keep it if the rule says so. It must not change later.

        Under `best_validation` a head must be better than none: the prompt's own predictions, which
        the same answers give, compete. Where training images were held out, they count beside the
        validation images, one like the other. Returned is the better one's validation score;
        without validation images the one on held-out training images, if there is one.

        Args:
            classifier: the state.
            generation: after which it is there.
            held_out: its scores on training images.
            answers_KNC: the oracle's on the validation images, if whoever tunes has them.
        """
        competes = self._rule == "best_validation" and self._prepared.validation is not None
        best, evidence = self._best(
            classifier.variants() if competes else (classifier,), answers_KNC
        )
        old = self.selected
        if held_out is not None:
            before = held_out.zero_shot
            evidence = replace(evidence, held_out=held_out.tuned, zero_shot_held_out=before)
            if old.generation == 0:
                known = replace(old.evidence, held_out=before, zero_shot_held_out=before)
                old = replace(old, evidence=known)
        both = (old.evidence, evidence)
        is_better = best_evidence(both, *self._prepared.evidence_sizes) == 1
        takes_it = (is_better or self._rule == "last") and _is_finite(best, evidence)
        self._selected = Selected(best, evidence, generation) if takes_it else old
        return evidence.deciding

    def restore(self, selected: Selected) -> None:
        """Continue where a stored training was."""
        self._selected = selected

    def _best(
        self, variants: Sequence[TunedClassifier], answers_KNC: FloatArray | None = None
    ) -> tuple[TunedClassifier, Evidence]:
        """The first of the best, and what validation says of it. All need the same answers."""
        images = self._prepared.validation
        if images is None:
            return variants[0], Evidence(None)
        if answers_KNC is None:
            answers_KNC = variants[0].ask(self._oracle, self._prepared.classes, images.handle)
        scored = [_evidence_of(each.refine(answers_KNC), images.labels_N) for each in variants]
        best = best_evidence(scored, *self._prepared.evidence_sizes)
        return variants[best], scored[best]


def _is_finite(classifier: TunedClassifier, evidence: Evidence) -> bool:
    """Whether it predicts numbers: by its loss, or where nothing was asked by its own numbers."""
    if (score := evidence.deciding) is not None:
        return bool(np.isfinite(score.loss))
    return all(np.isfinite(array).all() for array in classifier.arrays().values())


def _evidence_of(logits_NC: FloatArray, labels_N: LabelArray) -> Evidence:
    """Of final logits on the validation images."""
    return Evidence(score_logits(logits_NC, labels_N), right=right_images(logits_NC, labels_N))
