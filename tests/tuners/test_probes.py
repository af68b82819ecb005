"""A linear head on fixed questions and on searched ones, on the fake world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import ProbesClassifier
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.task.preparation import classification_task, prepare
from craft_ray.task.vocabulary import draw_names
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.state import load_state, save_state, selected_in
from tests.support.fake_oracle import FakeOracle
from tests.support.probing import DATA, HEADS, SEARCHED, finish, finished, probing
from tests.support.recording import RecordingOracle
from tests.support.world import World, make_world, metered, register_test_images


@pytest.mark.parametrize("head", HEADS)
def test_it_improves_accuracy_on_images_it_never_saw(head: str) -> None:
    training = finished(head)
    examiner = Examiner(metered(training.world.oracle), training.world.prepared, DATA)
    classifier = training.trainer.selected.classifier
    before, after = examiner.test([examiner.zero_shot, classifier])
    assert after.accuracy > before.accuracy + 0.1


def check_spending(head: str, config: RunConfig, spent: Spending) -> None:
    assert spent == plan_run(config, DATA.size)
    fixed = HEADS[head].get("contexts", 0) + 1
    searched = config.num_generations * config.optimizer.population
    assert spent.candidate_queries == (searched if head in SEARCHED else fixed)


@pytest.mark.parametrize("head", HEADS)
def test_it_spends_what_was_planned(head: str) -> None:
    training = finished(head)
    check_spending(head, training.world.config, training.ledger.spent)


@pytest.mark.parametrize("head", ["contexts", "three searched"])
@pytest.mark.parametrize("evaluate_every", [1, 2, 5])
def test_it_spends_what_was_planned_however_often_it_is_validated(
    head: str, evaluate_every: int
) -> None:
    config = probing(head, evaluate_every_generations=evaluate_every)
    trainer, ledger = make_world(config, data=DATA).trainer()
    finish(trainer)
    check_spending(head, config, ledger.spent)


@pytest.mark.parametrize("head", ["linear", "both", "searched and names"])
def test_the_driver_spends_what_was_planned(head: str) -> None:
    config = probing(head, fidelity={"selection": "last"})
    world = make_world(config, data=DATA)
    trainer, _ = world.trainer()
    finish(trainer)
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(config, DATA, driver), DATA)
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot, trainer.selected.classifier])
    assert examiner.spent == plan_driver(config, DATA.size)


@pytest.mark.parametrize("head", HEADS)
def test_a_resumed_training_is_the_undisturbed_one(head: str, tmp_path: Path) -> None:
    undisturbed = finished(head)
    world, reports = undisturbed.world, undisturbed.reports
    first: list[GenerationReport] = []
    with QueryJournal(tmp_path / "queries.db") as journal:
        stopped, _ = world.trainer(journal)
        for stop_after in range(min(2, len(reports)) + 1):
            folder = tmp_path / str(stop_after)
            save_state(stopped.state_dict(), folder)
            resumed, ledger = world.trainer(journal)
            resumed.load_state_dict(load_state(folder))
            assert first + finish(resumed) == reports
            assert ledger.spent == undisturbed.ledger.spent
            state, expected = resumed.state_dict(), undisturbed.trainer.state_dict()
            assert state.values == expected.values
            for name, array in expected.arrays.items():
                np.testing.assert_array_equal(state.arrays[name], array)
            if not stopped.finished:
                first.append(stopped.run_generation())


@pytest.mark.parametrize("head", HEADS)
def test_a_state_has_no_answers_in_it(head: str) -> None:
    """They grow with images x classes, and are on record."""
    training = finished(head)
    size = training.world.data.size
    for name, array in training.trainer.state_dict().arrays.items():
        assert not {size.num_train, size.num_validation} & set(array.shape), name


@pytest.mark.parametrize("head", HEADS)
def test_a_stored_classifier_predicts_as_the_one_that_was_trained(
    head: str, tmp_path: Path
) -> None:
    training = finished(head)
    world, trainer = training.world, training.trainer
    save_state(trainer.state_dict(), tmp_path / "state")
    classifier = selected_in(load_state(tmp_path / "state")).classifier
    assert isinstance(classifier, ProbesClassifier)
    task = classification_task(world.config, DATA)
    Artifact(classifier, task, world.prepared.oracle_id).save(tmp_path / "best")
    # An oracle that knows neither the task nor the images.
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    loaded = Artifact.load(tmp_path / "best").predict(oracle, images)
    trained = trainer.selected.classifier.predict(metered(oracle), task, images)
    np.testing.assert_array_equal(loaded, trained)
    assert loaded.shape == (images.num_images, len(task.class_names))


def test_names_are_asked_about_in_the_same_queries() -> None:
    recording = RecordingOracle(FakeOracle())
    world = make_world(probing("names"), oracle=recording, data=DATA)
    trainer, _ = world.trainer()
    recording.questions.clear()
    finish(trainer)
    shapes = [question.logits_KNC.shape for question in recording.questions]
    num_train, num_validation = DATA.size.num_train, DATA.size.num_validation
    *training, validation = shapes  # zero-shot is known
    assert training == [(1, num_train, 34)] * 3  # plain and two views
    assert validation == (1, num_validation, 34)


def test_no_context_is_asked_about_when_the_budget_is_refused() -> None:
    world = make_world(probing("contexts"), data=DATA)
    ledger = QueryLedger(7)  # of eight contexts
    recording = RecordingOracle(world.oracle)
    trainer = make_trainer_with(world, recording, ledger)
    with pytest.raises(Exception, match="max_queries"):
        finish(trainer)
    assert ledger.spent.candidate_queries == 6


def make_trainer_with(world: World, oracle: RecordingOracle, ledger: QueryLedger) -> Trainer:
    from craft_ray.tuners.registry import make_trainer

    return make_trainer(MeteredOracle(oracle, ledger), world.prepared, world.config)


def test_names_are_drawn_once_whatever_their_number() -> None:
    few = draw_names((), 10, ("dog", "cat"), seed=1)
    many = draw_names((), 900, ("dog", "cat"), seed=1)
    assert many[:10] == few
    assert len(set(many)) == 900
    assert draw_names((), 10, ("dog", "cat"), seed=2) != few


def test_no_name_is_one_of_the_tasks_own() -> None:
    vocabulary = ("Ankle  boot", "ankle_boot", "goose", "GOOSE", "fox")
    assert set(draw_names(vocabulary, 2, ("ankle boot",), seed=0)) == {"goose", "fox"}
    with pytest.raises(ConfigError, match=r"head\.names <= 2 must hold.*but got 3"):
        draw_names(vocabulary, 3, ("ankle boot",), seed=0)
