"""Prompt tuning by gradients, under the same roof as the black-box methods."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from craft_ray.config.loading import load_run_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError, OracleError
from craft_ray.metering.planned_spending import plan_run
from craft_ray.oracle.white_box import load_oracle
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.state import load_state, save_state
from tests.support.checkpoints import tiny_clip_dir
from tests.support.classifiers import as_prompt
from tests.support.fake_oracle import FakeOracle
from tests.support.world import World, make_world, run_config, world_data

DATA = world_data(shots=4, num_validation=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip_dir(tmp_path_factory.mktemp("models") / "tiny")


def settings(**white_box: object) -> RunConfig:
    return run_config(
        method="white_box",
        oracle={"white_box": True},
        white_box={"steps": 12, "learning_rate": 0.05, **white_box},
        evaluate_every_generations=5,
    )


@pytest.fixture
def world(folder: Path) -> World:
    oracle = load_oracle(OracleConfig(model=f"local-dir:{folder}", white_box=True))
    return make_world(settings(), oracle, DATA)


def finish(trainer: Trainer) -> list[GenerationReport]:
    reports = []
    while not trainer.finished:
        reports.append(trainer.run_generation())
    return reports


def test_gradients_lower_the_loss_without_a_candidate_query(world: World) -> None:
    trainer, ledger = world.trainer()
    reports = finish(trainer)
    losses = [report.fitness_best for report in reports if report.fitness_best is not None]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert ledger.spent.candidate_queries == 0
    assert [r.generation for r in reports if r.validation is not None] == [5, 10, 12]
    assert as_prompt(trainer.selected.classifier).head is None


def test_it_spends_what_was_planned(world: World) -> None:
    trainer, ledger = world.trainer()
    finish(trainer)
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.white_box_predictions == 12 * 16


def test_the_learning_rate_falls_to_zero(world: World) -> None:
    trainer, _ = world.trainer()
    contexts = [world.prepared.task.initial_context]
    while not trainer.finished:
        trainer.run_generation()
        contexts.append(trainer.state_dict().arrays["context"])
    moved = [float(np.abs(b - a).max()) for a, b in itertools.pairwise(contexts)]
    assert moved[0] == pytest.approx(0.05, rel=0.01)  # Adam's first step is the learning rate
    assert moved[-1] < 0.005


def test_a_stopped_training_continues_identically(world: World, tmp_path: Path) -> None:
    undisturbed, ledger = world.trainer()
    reports = finish(undisturbed)
    stopped, _ = world.trainer()
    first = [stopped.run_generation() for _ in range(7)]
    save_state(stopped.state_dict(), tmp_path)
    resumed, resumed_ledger = world.trainer()
    resumed.load_state_dict(load_state(tmp_path))
    assert first + finish(resumed) == reports
    assert resumed_ledger.spent == ledger.spent
    np.testing.assert_array_equal(
        as_prompt(resumed.selected.classifier).context_LE,
        as_prompt(undisturbed.selected.classifier).context_LE,
    )


def test_a_black_box_cannot_be_tuned_by_gradients() -> None:
    with pytest.raises(ConfigError, match=r"method white_box needs oracle\.white_box true"):
        load_run_config(None, ["method=white_box"])
    # Also where the settings claim a permission that the oracle does not give.
    trainer, ledger = make_world(settings(), FakeOracle(), DATA).trainer()
    with pytest.raises(OracleError, match=r"oracle\.white_box: must be true"):
        trainer.run_generation()
    assert ledger.spent.white_box_predictions == 0
