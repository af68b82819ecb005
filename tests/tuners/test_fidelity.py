"""What each choice of fidelity, and each consistency term, does to a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from craft_ray.oracle.contract import FloatArray
from craft_ray.tuners.base import GenerationReport
from tests.support.classifiers import as_prompt
from tests.support.fake_oracle import FakeOracle
from tests.support.known import known
from tests.support.recording import Question, RecordingOracle
from tests.support.world import BOTH_ANSWERS, World, make_world, run_config, world_data

DATA = world_data(shots=4, num_validation=4)


class Record:
    """A run with its questions, by what they were for."""

    def __init__(self, **changes: Any) -> None:
        self.recording = RecordingOracle(FakeOracle(answers=BOTH_ANSWERS))
        self.world: World = make_world(run_config(**changes), self.recording, DATA)
        self.trainer, self.ledger = self.world.trainer()
        self.reports: list[GenerationReport] = []
        while not self.trainer.finished:
            self.reports.append(self.trainer.run_generation())

    def questions(self, *digests: str) -> list[Question]:
        return [question for question in self.recording.questions if question.images in digests]

    @property
    def searches(self) -> list[Question]:
        return self.questions(self.world.prepared.fitness.handle.digest)

    @property
    def head_trainings(self) -> list[Question]:
        return self.questions(*(view.digest for view in self.world.view_handles))

    @property
    def validations(self) -> list[Question]:
        return self.questions(known(self.world.prepared.validation).handle.digest)


def cross_entropy(logits_NC: FloatArray, labels_N: np.ndarray[Any, Any]) -> float:
    shares = np.exp(logits_NC.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    return float(-np.log(shares[np.arange(len(labels_N)), labels_N]).mean())


def fitness_of(record: Record) -> list[list[float]]:
    labels = record.world.prepared.fitness.labels_N
    return [[cross_entropy(logits, labels) for logits in q.logits_KNC] for q in record.searches]


def test_candidates_are_scored_by_the_cross_entropy_of_the_training_images() -> None:
    record = Record(method="prompt")
    for report, losses in zip(record.reports, fitness_of(record), strict=True):
        assert report.fitness_best == pytest.approx(min(losses), rel=1e-4)
        assert report.fitness_median == pytest.approx(float(np.median(losses)), rel=1e-4)


def test_the_heads_opinion_counts_by_the_prompts_consistency() -> None:
    without = Record(loss={"prompt_consistency": 0.0})
    for report, losses in zip(without.reports, fitness_of(without), strict=True):
        assert report.fitness_best == pytest.approx(min(losses), rel=1e-4)
    weighted = Record(loss={"prompt_consistency": 10.0})
    # An identity head agrees with every candidate: the first generation is the same.
    assert weighted.reports[0].fitness_best == without.reports[0].fitness_best
    raw = [min(losses) for losses in fitness_of(weighted)]
    assert weighted.reports[2].fitness_best > raw[2] * 1.01  # type: ignore[operator]


def test_the_best_candidate_so_far_is_deployed_if_that_is_chosen() -> None:
    record = Record(method="both", fidelity={"deployed_prompt": "best"}, loss=ALONE)
    best_loss, best_context = np.inf, np.empty(0)
    for losses, search, head in zip(
        fitness_of(record), record.searches, record.head_trainings, strict=True
    ):
        if min(losses) < best_loss:
            best_loss, winner = min(losses), int(np.argmin(losses))
            best_context = search.contexts_KLE[winner]
        np.testing.assert_allclose(head.contexts_KLE[0], best_context, atol=1e-5)


ALONE = {"prompt_consistency": 0.0, "head_consistency": 0.0}


@pytest.mark.parametrize("choice", ["mean", "resampled_mean"])
def test_a_mean_is_deployed_without_being_paid_for(choice: str) -> None:
    record = Record(method="both", fidelity={"deployed_prompt": choice}, loss=ALONE)
    other = {"mean": "resampled_mean", "resampled_mean": "mean"}[choice]
    compared = Record(method="both", fidelity={"deployed_prompt": other}, loss=ALONE)
    assert record.ledger.spent == compared.ledger.spent
    first, first_compared = record.head_trainings[0], compared.head_trainings[0]
    np.testing.assert_array_equal(
        record.searches[0].contexts_KLE, compared.searches[0].contexts_KLE
    )
    assert not np.allclose(first.contexts_KLE, first_compared.contexts_KLE)
    for candidate in record.searches[0].contexts_KLE:
        assert not np.allclose(first.contexts_KLE[0], candidate)


def test_the_first_candidates_surround_the_start() -> None:
    record = Record(optimizer={"sigma": 0.3}, prompt={"projection_std": 0.5})
    shifts = record.searches[0].contexts_KLE - record.world.prepared.task.initial_context
    # z ~ N(0, sigma^2) in 8 dimensions through A ~ N(0, std^2).
    assert shifts.std() == pytest.approx(0.3 * 0.5 * 8**0.5, rel=0.35)


@pytest.mark.parametrize("answer", BOTH_ANSWERS)
def test_only_the_head_is_trained_on_the_chosen_answers(answer: str) -> None:
    record = Record(fidelity={"head_inputs": answer})
    assert {question.answer for question in record.head_trainings} == {answer}
    assert {question.answer for question in record.searches + record.validations} == {"logits"}


def test_the_head_cycles_through_its_views() -> None:
    record = Record(data={"views": 3}, max_queries=56)
    views = [view.digest for view in record.world.view_handles]
    assert len(set(views)) == 3
    assert [question.images for question in record.head_trainings] == [*views, *views, views[0]]


def test_fitness_images_are_plain_or_one_augmentation_that_is_kept() -> None:
    plain, augmented = (
        Record(fidelity={"fitness_images": choice}) for choice in ("plain", "one_augmentation")
    )
    digests = {record.world.prepared.fitness.handle.digest for record in (plain, augmented)}
    views = {view.digest for view in augmented.world.view_handles}
    assert len(digests) == 2
    assert not digests & views, "the fitness images have a random stream of their own"
    assert len(augmented.searches) == 5


def test_an_untrained_identity_head_changes_no_prediction() -> None:
    record = Record(head={"learning_rate": 1e-12}, method="head")
    logits = record.validations[-1].logits_KNC[0]
    expected = cross_entropy(logits, known(record.world.prepared.validation).labels_N)
    report = record.reports[-1].validation
    assert report is not None
    assert report.loss == pytest.approx(expected, rel=1e-4)
    started_at_random = Record(
        head={"learning_rate": 1e-12},
        method="head",
        fidelity={"head_init": "default", "selection": "last"},  # with its head, whatever it does
    )
    other = started_at_random.reports[-1].validation
    assert other is not None
    assert abs(other.loss - expected) > 1e-3


@pytest.mark.parametrize(("share", "dropped_after"), [(0.5, 5), (0.35, 3), (0.1, 1)])
def test_the_heads_consistency_is_dropped_after_its_share_of_the_budget(
    share: float, dropped_after: int
) -> None:
    def losses(**loss: float) -> list[float | None]:
        record = Record(max_queries=80, method="head", loss=loss)
        return [report.head_loss for report in record.reports]

    always = losses(head_consistency=5.0)
    until = losses(head_consistency=5.0, head_consistency_share=share)
    assert until[:dropped_after] == always[:dropped_after]
    assert until[dropped_after] < always[dropped_after]  # type: ignore[operator]


def test_weight_decay_pulls_the_head_towards_zero() -> None:
    def size(weight_decay: float) -> float:
        record = Record(method="head", fidelity="reference", head={"weight_decay": weight_decay})
        head = as_prompt(record.trainer.selected.classifier).head
        assert head is not None
        return float(np.square(head["enter.weight"]).sum())

    # The default of torch's AdamW is 0.01; 0 must mean none.
    assert size(0.0) > size(0.01) > size(5.0)


def test_more_epochs_cost_no_queries() -> None:
    once, often = Record(), Record(head={"epochs_per_generation": 5})
    assert once.ledger.spent == often.ledger.spent
    assert once.reports != often.reports
