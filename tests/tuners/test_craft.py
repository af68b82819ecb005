"""The collaborative loop on a real, if small, learning problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from craft_ray.classifiers.score import Score
from craft_ray.errors import BudgetError
from craft_ray.oracle.contract import Oracle
from craft_ray.tuners.base import GenerationReport, Trainer
from tests.support.classifiers import as_prompt
from tests.support.fake_oracle import FakeOracle
from tests.support.known import known
from tests.support.recording import RecordingOracle
from tests.support.world import (
    BOTH_ANSWERS,
    World,
    make_world,
    mislabelled,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(shots=4, num_validation=10)


def train(world: World) -> tuple[Trainer, list[GenerationReport]]:
    trainer, _ = world.trainer()
    reports = []
    while not trainer.finished:
        reports.append(trainer.run_generation())
    return trainer, reports


def small_world(oracle: Oracle | None = None, **changes: Any) -> World:
    return make_world(run_config(**changes), oracle, DATA)


def validations(reports: list[GenerationReport]) -> list[Score]:
    return [report.validation for report in reports if report.validation is not None]


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
@pytest.mark.parametrize("fidelity", ["corrected", "reference"])
def test_every_method_improves_accuracy_on_images_it_never_saw(method: str, fidelity: str) -> None:
    settings: dict[str, Any] = {"method": method, "fidelity": fidelity, "max_queries": 240}
    world = make_world(run_config(**settings), data=world_data(shots=8, num_test=50))
    trainer, _ = train(world)
    test = register_test_images(world.data, world.oracle)
    start = world.prepared.task.initial_context
    zero_shot, tuned = (
        world.oracle.predict(world.prepared.task, test.handle, context[None])
        for context in (start, as_prompt(trainer.selected.classifier).context_LE)
    )
    refined = trainer.selected.classifier.refine(tuned)
    before = (zero_shot[0].argmax(axis=1) == test.labels_N).mean()
    after = (refined.argmax(axis=1) == test.labels_N).mean()
    assert 0.5 < before < 0.8
    assert after > before + 0.1


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_a_report_tells_what_its_method_did(method: str) -> None:
    _, reports = train(small_world(method=method, max_queries=44, evaluate_every_generations=2))
    assert [report.generation for report in reports] == [1, 2, 3, 4, 5]
    # Due every second generation, and always after the last.
    validated = [report.generation for report in reports if report.validation is not None]
    assert validated == [2, 4, 5]
    for report in reports:
        queries = 0 if method == "head" else 8 * report.generation
        assert report.candidate_queries == queries
        assert (report.head_loss is None) == (method == "prompt")
        for fitness in (report.fitness_best, report.fitness_median):
            assert (fitness is None) == (method == "head")


@pytest.mark.parametrize("is_known", [True, False])
def test_zero_shot_is_validated_before_anything_is_tuned(is_known: bool) -> None:
    recording = RecordingOracle(FakeOracle())
    world = small_world(recording)
    if not is_known:
        recording.questions.clear()
        world = replace(world, prepared=replace(world.prepared, zero_shot_NC=None))
    trainer, ledger = world.trainer()
    assert trainer.selected.generation == 0
    assert as_prompt(trainer.selected.classifier).head is None
    start = world.prepared.task.initial_context
    np.testing.assert_array_equal(as_prompt(trainer.selected.classifier).context_LE, start)
    (question,) = recording.questions
    labels_N = known(world.prepared.validation).labels_N
    accuracy = (question.logits_KNC[0].argmax(axis=1) == labels_N).mean()
    assert known(trainer.selected.validation).accuracy == pytest.approx(accuracy)
    # Whoever asks pays: the driver, for all who share its answer.
    num_asked = 0 if is_known else len(known(world.prepared.validation).labels_N)
    assert ledger.spent.evaluation_predictions == num_asked


def test_the_trainer_never_sees_test_data() -> None:
    recording = RecordingOracle(FakeOracle(answers=BOTH_ANSWERS))
    world = small_world(recording)
    train(world)
    test = register_test_images(world.data, recording.oracle)
    seen = {question.images for question in recording.questions}
    assert test.handle.digest not in seen | set(recording.registered)
    prepared = world.prepared
    allowed = {prepared.fitness.handle, known(prepared.validation).handle, *world.view_handles}
    assert seen <= {handle.digest for handle in allowed}


def test_the_budget_ends_the_search_without_another_question() -> None:
    recording = RecordingOracle(FakeOracle())
    trainer, _ = train(small_world(recording, max_queries=20))
    asked = len(recording.questions)
    with pytest.raises(BudgetError, match="spent=16 and asked=8"):
        trainer.run_generation()
    assert len(recording.questions) == asked


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_a_run_is_decided_by_its_settings_and_nothing_else(method: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the legacy stream must not matter)
    first = train(small_world(method=method))[1]
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert train(small_world(method=method))[1] == first
    assert train(small_world(method=method, seed=2))[1] != first


THOROUGH: dict[str, Any] = {
    "max_queries": 160,
    "evaluate_every_generations": 20,
    "head": {"learning_rate": 0.1},
}


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
@pytest.mark.parametrize("seed", [1, 2])
def test_selection_by_validation_returns_zero_shot_rather_than_what_is_worse(
    method: str, seed: int
) -> None:
    world = mislabelled(small_world(method=method, seed=seed, **THOROUGH))
    zero_shot = known(world.trainer()[0].selected.validation)
    trainer, reports = train(world)
    # That the harm is real, the test of the last state below tells.
    assert not any(score.is_better_than(zero_shot) for score in validations(reports))
    assert trainer.selected.validation == zero_shot
    assert trainer.selected.generation == 0


def test_a_head_that_harms_is_left_out() -> None:
    harmful = {"hidden": 8, "learning_rate": 3.0, "batch_size": 4, "epochs_per_generation": 3}
    recording = RecordingOracle(FakeOracle())
    world = small_world(recording, head=harmful, max_queries=160)
    trainer, reports = train(world)
    selected = as_prompt(trainer.selected.classifier)
    assert trainer.selected.generation > 0
    assert selected.head is None
    assert validations(reports)[-1].accuracy > 0.5, "what is reported is what would be kept"
    # It costs nothing: one question about the validation images for each evaluation.
    digest = known(world.prepared.validation).handle.digest
    asked = [q for q in recording.questions if q.images == digest]
    assert len(asked) == 1 + len(validations(reports))


@pytest.mark.parametrize(
    "settings",
    [{"max_queries": 400}, {"max_queries": 160, "head": {"kind": "linear", "folds": 2}}],
    ids=["residual MLP", "linear"],
)
def test_patience_keeps_the_rest_of_the_budget(settings: dict[str, Any]) -> None:
    patient = small_world(**settings)
    world = small_world(patience=2, **settings)
    (_, all_reports), (trainer, reports) = train(patient), train(world)
    assert len(all_reports) == patient.config.num_generations
    assert reports == all_reports[: len(reports)]
    assert len(reports) < len(all_reports)
    # It ended two evaluations after what it returns, and not before there had been two.
    since = reports[trainer.selected.generation :]
    assert [report.validation is not None for report in since].count(True) == 2
    assert reports[-1].validation is not None
    gone_without = 0
    best = known(patient.trainer()[0].selected.validation)
    for score in validations(reports)[:-1]:
        gone_without = 0 if score.is_better_than(best) else gone_without + 1
        best = score if score.is_better_than(best) else best
        assert gone_without < 2


def test_a_run_out_of_patience_stays_finished_when_it_is_resumed() -> None:
    world = small_world(max_queries=400, patience=1)
    trainer, _ = train(world)
    again, _ = world.trainer()
    again.load_state_dict(trainer.state_dict())
    assert again.finished


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
@pytest.mark.parametrize("seed", [1, 2])
def test_selection_by_validation_returns_the_best_that_was_validated(
    method: str, seed: int
) -> None:
    world = small_world(method=method, seed=seed, evaluate_every_generations=1, max_queries=80)
    zero_shot = known(world.trainer()[0].selected.validation)
    trainer, reports = train(world)
    scores = [zero_shot, *validations(reports)]
    best = max(scores, key=lambda score: (score.accuracy, -score.loss))
    assert trainer.selected.validation == best
    assert scores[trainer.selected.generation] == best


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_selection_of_the_last_keeps_the_last_even_if_it_is_worse(method: str) -> None:
    world = mislabelled(small_world(method=method, fidelity={"selection": "last"}, **THOROUGH))
    zero_shot = known(world.trainer()[0].selected.validation)
    trainer, reports = train(world)
    assert trainer.selected.generation == world.config.num_generations
    assert trainer.selected.validation == validations(reports)[-1]
    assert zero_shot.is_better_than(known(trainer.selected.validation)), "the harm must be real"


@pytest.mark.parametrize("learning_rate", [1e18, 1e19, 1e25, 1e36])
@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.parametrize("selection", ["best_validation", "last"])
def test_a_head_that_leaves_the_finite_numbers_ends_the_run(
    learning_rate: float, batch_size: int, selection: str
) -> None:
    world = small_world(
        max_queries=160,
        head={"learning_rate": learning_rate, "batch_size": batch_size},
        fidelity={"selection": selection},
    )
    trainer, reports = train(world)
    assert trainer.diverged
    assert len(reports) < world.config.num_generations
    assert np.isfinite(known(trainer.selected.validation).loss)
