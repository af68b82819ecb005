"""Without validation images none is sent or asked about; what is held out decides, or nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import HeldOut, Selector
from craft_ray.config.run import RunConfig
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver, plan_run, plan_test
from craft_ray.task.preparation import FewShotData, prepare
from craft_ray.tuners.state import load_state, save_state
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.probing import FIXED, finish, probing
from tests.support.world import World, make_world, metered, run_config, world_data

NONE = {"validation": "none"}
FEATURES: dict[str, Any] = {"head": {"kind": "features"}, "oracle": {"features": True}}
HEADS = [*FIXED, "features"]


@cache
def data(shots: int) -> FewShotData:
    return replace(world_data(shots=shots), validation=())


def settings(head: str) -> RunConfig:
    if head == "features":
        return run_config(method="head", data=NONE, **FEATURES)
    return probing(head, data=NONE, evaluate_every_generations=1)


def world_of(head: str, shots: int) -> World:
    return make_world(settings(head), FakeFeatureOracle(), data(shots))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shots", [1, 2, 3])
def test_a_fitted_head_asks_about_training_images_only(head: str, shots: int) -> None:
    world = world_of(head, shots)
    assert world.prepared.validation is None
    trainer, ledger = world.trainer()
    reports = finish(trainer)
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.evaluation_predictions == 0
    assert all(report.validation is None for report in reports)
    assert reports[-1].is_evaluated
    selected = trainer.selected
    assert selected.validation is None
    if shots < 3:  # nothing can tell, and the head is returned
        assert selected.evidence.held_out is None
        assert selected.generation == trainer.generation
        assert trainer.curve == []
    else:
        assert selected.evidence.held_out is not None
        assert selected.evidence.zero_shot_held_out is not None
        assert [queries for queries, _ in trainer.curve][-1] == ledger.spent.candidates_scored


def test_nothing_is_asked_before_the_test() -> None:
    world = world_of("names", 3)
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    prepared, zero_shot = Examiner(
        driver, prepare(world.config, world.data, driver), world.data
    ).validate_zero_shot()
    assert (prepared.zero_shot_NC, zero_shot) == (None, None)
    size = world.data.size
    before = driver.ledger.spent
    assert before == Spending(images_sent=(1 + world.config.data.views) * size.num_train)  # type: ignore[operator]
    tested, planned = plan_test(world.config, size), plan_driver(world.config, size)
    assert planned == before + tested


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shots", [1, 3])
def test_a_resumed_training_is_the_undisturbed_one(head: str, shots: int, tmp_path: Path) -> None:
    world = world_of(head, shots)
    trainer, _ = world.trainer()
    reports = finish(trainer)
    with QueryJournal(tmp_path / "queries.db") as journal:
        stopped, _ = world.trainer(journal)
        stopped.run_generation()
        save_state(stopped.state_dict(), tmp_path / "state")
        resumed, ledger = world.trainer(journal)
        resumed.load_state_dict(load_state(tmp_path / "state"))
        assert finish(resumed) == reports[1:]
    assert resumed.selected.values() == trainer.selected.values()
    assert resumed.curve == trainer.curve
    assert ledger.spent == plan_run(world.config, world.data.size)


LAST: dict[str, Any] = {"fidelity": {"selection": "last"}, "data": NONE}


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_what_is_trained_or_searched_ends_with_its_last_state(method: str) -> None:
    world = make_world(run_config(method=method, **LAST), data=data(2))
    trainer, ledger = world.trainer()
    finish(trainer)
    assert trainer.selected.generation == world.config.num_generations
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.evaluation_predictions == 0


def score(num_correct: int) -> Score:
    return Score(num_correct / 16, 1.0, 0.1)


def chosen(*held_out: HeldOut | None, context: float = 1.0) -> int:
    """The generation that is returned."""
    world = world_of("names", 3)
    selector = Selector(metered(world.oracle), world.prepared, "best_validation")
    start_LE = world.prepared.task.initial_context
    for generation, each in enumerate(held_out, 1):
        selector.consider(PromptClassifier(start_LE * np.float32(context), None), generation, each)
    return selector.selected.generation


def test_held_out_images_decide_between_head_and_zero_shot() -> None:
    assert chosen(HeldOut(score(13), score(11))) == 1
    assert chosen(HeldOut(score(11), score(13))) == 0
    assert chosen(HeldOut(score(14), score(11)), HeldOut(score(13), score(11))) == 1
    assert chosen(HeldOut(score(12), score(11)), HeldOut(score(13), score(11))) == 2


def test_where_nothing_can_tell_it_is_the_last_that_is_finite() -> None:
    assert chosen(None) == 1
    assert chosen(None, None) == 2
    assert chosen(None, context=float("nan")) == 0


def without_images() -> World:
    config = probing("names", data={"shots": 0, **NONE})
    nothing = replace(world_data(), train=(), validation=())
    return make_world(config, FakeFeatureOracle(), nothing)


def test_without_training_images_nothing_is_asked_and_zero_shot_is_returned(
    tmp_path: Path,
) -> None:
    world = without_images()
    trainer, ledger = world.trainer()
    reports = finish(trainer)
    assert len(reports) == 1
    assert ledger.spent == plan_run(world.config, world.data.size) == Spending()
    classifier = trainer.selected.classifier
    assert isinstance(classifier, PromptClassifier)
    np.testing.assert_array_equal(classifier.context_LE, world.prepared.task.initial_context)
    assert plan_driver(world.config, world.data.size) == plan_test(world.config, world.data.size)
    save_state(trainer.state_dict(), tmp_path / "state")
    again, _ = world.trainer()
    again.load_state_dict(load_state(tmp_path / "state"))
    assert again.finished
    assert again.selected.values() == trainer.selected.values()


def test_without_training_images_validation_tells_what_zero_shot_is_worth() -> None:
    config = probing("names", data={"shots": 0, "validation": "full"})
    world = make_world(config, FakeFeatureOracle(), replace(world_data(), train=()))
    trainer, ledger = world.trainer()
    finish(trainer)
    assert trainer.selected.validation is not None
    assert ledger.spent == Spending(), "the driver has asked"


def test_cosines_without_training_images_have_the_usual_temperature() -> None:
    config = probing("names", data={"shots": 0, **NONE})
    nothing = replace(world_data(), train=(), validation=())
    world = make_world(config, FakeFeatureOracle(cosines=True), nothing)
    assert world.prepared.temperature is not None
    assert world.prepared.temperature.scale == 100
    assert "0 training images do not determine it" in world.prepared.temperature.describe()
