"""What is returned: decided on images that the choice was not fitted to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import HeldOut, Selected, Selector
from craft_ray.config.fidelity import Selection
from craft_ray.tuners.state import selected_in
from tests.support.probing import DATA, FIXED, HEADS, finish, finished, probing
from tests.support.world import World, make_world, metered, mislabelled, world_data

WORLD = make_world(data=world_data(num_validation=2))
"""Eight validation images, sixteen of training."""


class Told(Selector):
    """Validation scores are given: zero-shot's, then each state's."""

    def __init__(self, *scores: Score, rule: Selection = "best_validation") -> None:
        unasked = replace(WORLD.prepared, zero_shot_NC=None)
        super().__init__(metered(WORLD.oracle), unasked, rule)
        self._scores = list(scores)

    def _best(self, variants: Any, *answers: Any) -> tuple[TunedClassifier, Evidence]:
        validation = self._scores.pop(0)
        right_N = np.arange(8) < round(8 * validation.accuracy)
        return variants[0], Evidence(validation, right=np.packbits(right_N).tobytes().hex())


def score(num_correct: int, num_images: int, loss: float = 1.0) -> Score:
    return Score(num_correct / num_images, loss, 0.1)


def held_out(tuned: int, zero_shot: int) -> HeldOut:
    return HeldOut(score(tuned, 16), score(zero_shot, 16))


def chosen(selector: Selector, *evidence: HeldOut | None) -> int:
    """The generation that is returned after all have been considered; 0: zero-shot."""
    _ = selector.selected  # as a training does before anything is tuned
    context = WORLD.prepared.task.initial_context
    for generation, each in enumerate(evidence, 1):
        selector.consider(PromptClassifier(context + generation, None), generation, each)
    return selector.selected.generation


def test_held_out_training_images_count_as_validation_images_do() -> None:
    # One fewer of eight, two more of sixteen.
    assert chosen(Told(score(7, 8), score(6, 8)), None) == 0
    assert chosen(Told(score(7, 8), score(6, 8)), held_out(13, 11)) == 1
    # One more of eight, two fewer of sixteen.
    assert chosen(Told(score(6, 8), score(7, 8)), None) == 1
    assert chosen(Told(score(6, 8), score(7, 8)), held_out(11, 13)) == 0


@pytest.mark.parametrize(("loss", "expected"), [(0.9, 1), (1.0, 0), (1.1, 0)])
def test_as_many_right_answers_are_told_apart_by_the_loss(loss: float, expected: int) -> None:
    assert chosen(Told(score(7, 8), score(6, 8, loss)), held_out(12, 11)) == expected


def test_later_states_compete_with_the_one_that_was_chosen() -> None:
    scores = [score(5, 8), score(6, 8), score(7, 8), score(6, 8)]
    assert chosen(Told(*scores), *(held_out(n, 8) for n in (12, 10, 13))) == 3
    assert chosen(Told(*scores), *(held_out(n, 8) for n in (12, 12, 12))) == 2


def test_what_validation_clearly_denies_is_not_chosen() -> None:
    # Training images of another world: all of sixteen are gained, seven of eight lost.
    assert chosen(Told(score(8, 8), score(1, 8)), held_out(16, 0)) == 0


def test_the_last_is_taken_whatever_was_held_out() -> None:
    assert chosen(Told(score(8, 8), score(1, 8), rule="last"), held_out(0, 16)) == 1


def selected_by(world: World) -> Selected:
    trainer, _ = world.trainer()
    finish(trainer)
    return trainer.selected


@pytest.mark.parametrize("head", HEADS)
def test_images_are_held_out_only_from_what_is_fitted_by_cross_validation(head: str) -> None:
    selected = finished(head).trainer.selected
    assert (selected.evidence.held_out is not None) == (head in FIXED)


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_held_out_images_count_from_three_a_class_on(shots: int) -> None:
    config = probing("names", data={"shots": shots})
    evidence = selected_by(make_world(config, data=world_data(shots=shots))).evidence
    assert (evidence.held_out is not None) == (shots == 3)


@pytest.mark.parametrize("repeat", [False, True])
def test_an_image_that_may_be_there_twice_is_not_held_out(repeat: bool) -> None:
    config = probing("names", data={"repeat_small_classes": repeat})
    evidence = selected_by(make_world(config, data=DATA)).evidence
    assert (evidence.held_out is None) == repeat


@pytest.mark.parametrize("head", FIXED)
def test_zero_shot_is_held_out_as_the_oracle_answers_it(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[HeldOut] = []
    consider = Selector.consider

    def listen(
        self: Selector,
        classifier: TunedClassifier,
        generation: int,
        evidence: HeldOut,
        *answers: Any,
    ) -> Score | None:
        given.append(evidence)
        return consider(self, classifier, generation, evidence, *answers)

    monkeypatch.setattr(Selector, "consider", listen)
    world = make_world(probing(head), data=DATA)
    selected_by(world)
    training = world.prepared.fitness
    on_training = replace(world.prepared, validation=training, zero_shot_NC=None)
    expected = Selector(metered(world.oracle), on_training, "last").selected.validation
    assert expected is not None
    assert given
    for evidence in given:
        assert evidence.zero_shot.accuracy == expected.accuracy
        assert evidence.zero_shot.loss == pytest.approx(expected.loss)


def test_a_stored_choice_has_its_evidence() -> None:
    trainer = finished("contexts").trainer
    again = selected_in(trainer.state_dict())
    assert again.evidence == trainer.selected.evidence
    assert again.evidence.right != ""


@pytest.mark.parametrize("head", HEADS)
def test_wrong_labels_of_training_images_do_not_pass_validation(head: str) -> None:
    # Held-out images with wrong labels praise what has learnt them.
    selected = selected_by(mislabelled(make_world(probing(head), data=DATA)))
    assert selected.generation == 0
    # A search compares what its trials return: zero-shot has its evidence too.
    assert (selected.evidence.held_out is not None) == (head in FIXED)
