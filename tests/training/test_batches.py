"""Candidates may be scored on parts of the training images in turn, for the same queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from craft_ray.method.reduction import PromptLoss
from craft_ray.method.scoring import reduce_logits
from craft_ray.oracle.contract import ImageHandle
from craft_ray.training.plan import plan_driver, plan_run
from craft_ray.training.task import Batch
from tests.support.fake_oracle import FakeOracle
from tests.support.recording import RecordingOracle
from tests.support.world import World, make_world, run_config, world_data

SHOTS = 4
DATA = world_data(shots=SHOTS, num_validation=4)


def world_of(oracle: Any = None, **changes: Any) -> World:
    return make_world(run_config(**changes), oracle, DATA)


@pytest.mark.parametrize("batches", [1, 2, 3, 4])
def test_batches_are_parts_of_the_training_images_alike_in_their_classes(batches: int) -> None:
    prepared = world_of(data={"batches": batches}).prepared
    labels_N = prepared.fitness.labels_N
    rows = np.concatenate([batch.rows_M for batch in prepared.batches])
    assert sorted(rows) == list(range(len(labels_N)))
    for batch in prepared.batches:
        assert batch.handle.num_images == len(batch.rows_M)
        per_class = np.bincount(labels_N[batch.rows_M], minlength=prepared.task.num_classes)
        assert set(per_class) <= {SHOTS // batches, -(-SHOTS // batches)}


def test_the_seed_draws_them() -> None:
    first, again, other = (
        [batch.rows_M.tolist() for batch in world_of(seed=s, data={"batches": 2}).prepared.batches]
        for s in (1, 1, 2)
    )
    assert first == again != other


def test_generations_take_turns_and_candidates_are_scored_on_their_batch_alone() -> None:
    recording = RecordingOracle(FakeOracle())
    world = world_of(recording, method="prompt", data={"batches": 3}, max_queries=16)
    trainer, _ = world.trainer()
    before = len(recording.questions)
    reports = [trainer.run_generation() for _ in range(6)]
    asked = [q for q in recording.questions[before:] if len(q.logits_KNC) == 8]
    batches = world.prepared.batches
    assert [q.images for q in asked] == [batch.handle.digest for batch in (*batches, *batches)]
    for question, batch, report in zip(asked, (*batches, *batches), reports, strict=True):
        own = PromptLoss(world.prepared.fitness.labels_N[batch.rows_M], None, 0.0)
        assert report.fitness_best == reduce_logits(question.logits_KNC, own).min()


def test_the_head_is_trained_when_all_batches_had_their_turn() -> None:
    trainer, ledger = world_of(data={"batches": 4}, max_queries=24).trainer()
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
    data = {"views": views, "batches": batches}
    optimizer = {"population": population}
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
    world = world_of(head=head, data={"batches": 2}, max_queries=40)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.candidate_queries == 40


def test_batches_are_sent_once_more_and_planned() -> None:
    recording = RecordingOracle(FakeOracle())
    plan = plan_driver(world_of(recording, data={"batches": 2}).config, DATA.size)
    without = plan_driver(world_of().config, DATA.size)
    assert plan.images_sent == without.images_sent + len(DATA.train)
    # Plain images, two halves of them, two views, validation.
    assert len(set(recording.registered)) == 1 + 2 + 2 + 1


@given(population=st.integers(1, 60), num_batches=st.integers(1, 20))
def test_a_place_in_the_population_is_one_query_in_all_batches_together(
    population: int, num_batches: int
) -> None:
    batches = [
        Batch(ImageHandle("x", 1), np.arange(1), number, num_batches)
        for number in range(num_batches)
    ]
    counts = [batch.counts(population) for batch in batches]
    assert np.sum(counts, axis=0).tolist() == [1] * population
    shares = [count.sum() for count in counts]
    assert max(shares) - min(shares) <= 1  # spread over the generations


def test_a_batch_has_all_classes() -> None:
    law = r"data.batches <= data.shots must hold, but got batches=5 and shots=4"
    with pytest.raises(ValidationError, match=law):
        run_config(data={"batches": 5})
