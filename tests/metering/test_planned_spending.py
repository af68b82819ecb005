"""A run spends exactly what its plan says, to the last prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.config.run import RunConfig
from craft_ray.metering import planned_spending
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import DataSize, examined_blocks, plan_driver, plan_run
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.preparation import FewShotData, prepare
from tests.optimizers.contract import KINDS
from tests.support.fake_oracle import EMBED_DIM
from tests.support.world import make_world, run_config, world_data

DATA = world_data(shots=2, num_validation=2, num_test=3)


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
@pytest.mark.parametrize("fidelity", ["corrected", "reference"])
@pytest.mark.parametrize("views", [2, "fresh"])
@pytest.mark.parametrize(
    ("max_queries", "population", "evaluate_every"),
    [(8, 8, 5), (40, 8, 2), (47, 8, 1), (50, 7, 3), (13, 4, 100)],
)
def test_a_run_spends_what_was_planned(
    method: str,
    fidelity: str,
    views: int | str,
    max_queries: int,
    population: int,
    evaluate_every: int,
) -> None:
    settings: dict[str, Any] = {
        "data": {"views": views},
        "method": method,
        "fidelity": fidelity,
        "max_queries": max_queries,
        "evaluate_every_generations": evaluate_every,
        "optimizer": {"population": population},
    }
    world = make_world(run_config(**settings), data=DATA)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert trainer.generation == max_queries // population
    queries = 0 if method == "head" else max_queries // population * population
    assert ledger.spent.candidate_queries == queries <= max_queries


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("max_queries", [40, 47])
def test_every_optimizer_spends_whole_populations_and_nothing_else(
    kind: str, max_queries: int
) -> None:
    own = {"warm_up_generations": 2} if kind == "sharp_zo" else {}
    document = run_config(method="prompt", max_queries=max_queries).model_dump(mode="json")
    document["optimizer"] = {"kind": kind, "population": 8, **own}
    world = make_world(RunConfig.model_validate(document), data=DATA)
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.candidate_queries == 40


def test_the_papers_budget_in_image_predictions() -> None:
    # EuroSAT, 16 shots, 8,000 queries: 1.28 M to score candidates (10 classes x 16 images).
    size = DataSize(num_train=160, num_validation=0, num_test=8100, num_classes=10)
    plan = plan_run(run_config(max_queries=8000, optimizer={"population": 40}), size)
    assert plan.candidate_queries == 8000
    assert plan.search_predictions == 1_280_000
    assert plan.head_predictions == 200 * 160
    # Of the candidates, and of the head in each generation; there are no validation images.
    assert plan.text_encodes == (8000 + 200) * 10


def test_the_driver_sends_all_images_and_asks_for_validation_once_and_for_test_twice() -> None:
    size = DataSize(num_train=7, num_validation=20, num_test=300, num_classes=4)
    plan = plan_driver(run_config(data={"views": 3}), size)
    assert plan == Spending(
        evaluation_predictions=620, text_encodes=4 * (1 + 2 * 2), images_sent=4 * 7 + 20 + 300
    )
    fresh = plan_driver(run_config(data={"views": "fresh"}), size)
    assert fresh.images_sent == 7 + 20 + 300


@given(num_images=st.integers(0, 200_000))
def test_test_blocks_are_all_images_in_order_and_none_is_large(num_images: int) -> None:
    blocks = examined_blocks(num_images)
    assert [image for block in blocks for image in block] == list(range(num_images))
    assert all(1 <= len(block) <= 1000 for block in blocks)
    if num_images > 4 * 256:
        assert len(blocks) >= 4


@pytest.mark.parametrize("num_test", [1, 9, 10, 11, 25])
def test_the_driver_spends_what_was_planned(num_test: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned_spending, "TEST_BLOCK_IMAGES", 10)
    world = make_world(data=world_of_tests(num_test))
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(world.config, world.data, driver), world.data)
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot, PromptClassifier(random_context(), None)])
    assert examiner.spent == plan_driver(world.config, world.data.size)


def world_of_tests(num_test: int) -> FewShotData:
    """`DATA` with its test images repeated."""
    items = DATA.dataset.splits["test"]
    test = [items[position % len(items)] for position in range(num_test)]
    dataset = replace(DATA.dataset, splits={**DATA.dataset.splits, "test": test})
    return replace(DATA, dataset=dataset)


def random_context() -> FloatArray:
    return np.random.default_rng(0).normal(size=(4, EMBED_DIM)).astype(np.float32)
