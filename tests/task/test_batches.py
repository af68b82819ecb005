"""Candidates may be scored on parts of the training images in turn, for the same queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.optimizers import CmaEsConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.planned_spending import plan_run
from craft_ray.method.reduction import PromptLoss
from craft_ray.method.scoring import reduce_logits
from craft_ray.task.batches import Batch, Batches
from tests.support.fake_oracle import FakeOracle
from tests.support.recording import RecordingOracle
from tests.support.world import World, make_world, run_config, world_data

SHOTS = 4
DATA = world_data(shots=SHOTS, num_validation=4)


def batches_of(world: World, first: int, stop: int) -> list[Batch]:
    batches = Batches(world.prepared.fitness, world.config, seed=1)
    return [batches.of_generation(generation) for generation in range(first, stop)]


def world_of(oracle: Any = None, **changes: Any) -> World:
    return make_world(run_config(**changes), oracle, DATA)


WORLD = world_of()


@pytest.mark.parametrize("batches", [1, 2, 3, 4])
def test_a_pass_is_all_training_images_once_alike_in_their_classes(batches: int) -> None:
    world = world_of(optimizer={"batches": batches})
    fitness = world.prepared.fitness
    for number_of_pass in range(3):
        of_pass = batches_of(world, number_of_pass * batches, (number_of_pass + 1) * batches)
        rows = np.concatenate([np.arange(len(fitness.labels_N))[batch.rows] for batch in of_pass])
        assert sorted(rows) == list(range(len(fitness.labels_N)))
        for batch in of_pass:
            np.testing.assert_array_equal(batch.labels_M, fitness.labels_N[batch.rows])
            assert batch.handle.num_images == len(batch.labels_M)
            per_class = np.bincount(batch.labels_M, minlength=world.prepared.task.num_classes)
            assert set(per_class) <= {SHOTS // batches, -(-SHOTS // batches)}


def test_every_pass_has_parts_of_its_own_that_the_seed_alone_decides() -> None:
    world = world_of(optimizer={"batches": 2})
    contents = [batch.handle.content for batch in batches_of(world, 0, 8)]
    assert len(set(contents)) == 8
    late_first = Batches(world.prepared.fitness, world.config, seed=1)
    assert [late_first.of_generation(g).handle.content for g in (7, 0)] == [
        contents[7],
        contents[0],
    ]
    other = Batches(world.prepared.fitness, world.config, seed=2)
    assert other.of_generation(0).handle.content not in contents


def test_generations_take_turns_and_candidates_are_scored_on_their_batch_alone() -> None:
    recording = RecordingOracle(FakeOracle())
    world = world_of(recording, method="prompt", optimizer={"batches": 3}, max_queries=16)
    trainer, _ = world.trainer()
    before = len(recording.questions)
    reports = [trainer.run_generation() for _ in range(6)]
    asked = [q for q in recording.questions[before:] if len(q.logits_KNC) == 8]
    fitness = world.prepared.fitness
    for one_pass in (asked[:3], asked[3:]):
        rows = [row for question in one_pass for row in question.rows or ()]
        assert sorted(rows) == list(range(len(fitness.labels_N)))
    for question, report in zip(asked, reports, strict=True):
        assert question.images == fitness.handle.digest  # nothing is sent again
        own = PromptLoss(fitness.labels_N[list(question.rows or ())], None, 0.0)
        assert report.fitness_best == reduce_logits(question.logits_KNC, own).min()


def test_the_head_is_trained_when_all_batches_had_their_turn() -> None:
    trainer, ledger = world_of(optimizer={"batches": 4}, max_queries=24).trainer()
    trained = []
    while not trainer.finished:
        trained.append(trainer.run_generation().head_loss is not None)
    assert trained == 3 * [False, False, False, True]
    assert ledger.spent.head_predictions == 3 * len(DATA.train)


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
@pytest.mark.parametrize("views", [2, "fresh"])
@pytest.mark.parametrize(
    ("batches", "population", "max_queries"), [(2, 8, 40), (3, 7, 50), (4, 6, 13)]
)
def test_a_run_spends_what_was_planned_and_never_more(
    method: str, views: int | str, batches: int, population: int, max_queries: int
) -> None:
    data = {"views": views}
    optimizer = {"population": population, "batches": batches}
    world = world_of(method=method, data=data, optimizer=optimizer, max_queries=max_queries)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
        assert ledger.spent.candidate_queries <= max_queries
    assert ledger.spent == plan_run(world.config, world.data.size)
    passes = 0 if method == "head" else max_queries // population
    assert ledger.spent.candidate_queries == passes * population
    assert ledger.spent.search_predictions == passes * population * len(DATA.train)


@pytest.mark.parametrize("kind", ["linear", "probes"])
def test_contexts_for_a_linear_head_are_searched_in_batches_too(kind: str) -> None:
    more = {"contexts": 1, "names": 0} if kind == "probes" else {}
    head = {"kind": kind, "folds": 2, **more}
    world = world_of(head=head, optimizer={"batches": 2}, max_queries=40)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.candidate_queries == 40


@given(population=st.integers(4, 60), num_batches=st.integers(1, SHOTS))
def test_a_place_in_the_population_is_one_query_in_all_batches_together(
    population: int, num_batches: int
) -> None:
    optimizer = {"population": population, "batches": num_batches}
    config = run_config(optimizer=optimizer, max_queries=population)
    batches = Batches(WORLD.prepared.fitness, config, seed=1)
    counts = [batches.of_generation(number).counts_P for number in range(num_batches)]
    assert np.sum(counts, axis=0).tolist() == [1] * population
    shares = [count.sum() for count in counts]
    assert max(shares) - min(shares) <= 1  # spread over the generations


@pytest.mark.parametrize(("batches", "taken"), [(5, 4), (4, 4), (99, 4), (1, 1), ("8", 4)])
def test_a_batch_has_all_classes_so_there_are_no_more_than_shots(batches: Any, taken: int) -> None:
    document = run_config().model_dump()
    document["optimizer"]["batches"] = batches
    config = RunConfig.model_validate(document)
    assert config.num_batches == config.soft_optimizer.batches == taken
    section = CmaEsConfig(batches=int(batches))
    assert RunConfig(optimizer=section, data=config.data).num_batches == taken
    assert section.batches == int(batches)
