"""An oracle that answers with cosines: the factor is fitted once, told, and used by everybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.score import score_logits
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.files.remote import locate
from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver
from craft_ray.method.reduction import PromptLoss
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.endpoints.scores import fit_temperature
from craft_ray.task.preparation import prepare
from craft_ray.task.prepared import TaskTemperature
from craft_ray.task.temperature import decide_temperature
from craft_ray.tuners.registry import make_trainer
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.known import known
from tests.support.probing import probing
from tests.support.world import (
    SMALL_RUN,
    make_world,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(num_validation=3)


def prepared_on(oracle: FakeFeatureOracle) -> tuple[MeteredOracle, TaskTemperature | None]:
    driver = MeteredOracle(oracle, QueryLedger(0))
    return driver, prepare(SMALL_RUN, DATA, driver).temperature


def test_an_oracle_with_logits_is_left_alone() -> None:
    driver, temperature = prepared_on(FakeFeatureOracle())
    assert temperature is None
    assert driver.logit_scale == 1.0
    assert driver.ledger.spent.image_predictions == 0


def test_it_is_the_likeliest_factor_of_the_training_images_and_counted() -> None:
    oracle = FakeFeatureOracle(cosines=True)
    driver, temperature = prepared_on(oracle)
    assert temperature is not None
    assert driver.logit_scale == temperature.scale
    assert driver.ledger.spent.head_predictions == len(DATA.train) == oracle.images_predicted
    world = make_world(oracle=oracle, data=DATA)
    images, task = world.prepared.fitness, world.prepared.task
    cosines_NC = oracle.predict(task, images.handle, task.initial_context[None])[0]
    fitted = fit_temperature(cosines_NC, images.labels_N)
    assert not fitted.is_bound
    assert temperature == TaskTemperature(fitted.scale, len(DATA.train), is_determined=True)
    assert temperature.describe() == (
        f"Temperature fitted on {len(DATA.train)} training images: {fitted.scale:.1f}."
    )


def test_a_driver_that_is_started_again_fits_the_same_and_asks_nothing(tmp_path: Path) -> None:
    oracle = FakeFeatureOracle(cosines=True)
    fitted = []
    for _ in range(2):
        with QueryJournal(tmp_path / "queries.db") as journal:
            driver = MeteredOracle(oracle, QueryLedger(0), journal, by_content=True)
            fitted.append(prepare(SMALL_RUN, DATA, driver).temperature)
            assert driver.ledger.spent.head_predictions == len(DATA.train)
    assert fitted[0] == fitted[1]
    assert oracle.images_predicted == len(DATA.train)


def test_a_client_that_prepares_two_tasks_fits_the_second_on_cosines_too() -> None:
    driver = MeteredOracle(FakeFeatureOracle(cosines=True), QueryLedger(0))
    fitted = [prepare(SMALL_RUN, DATA, driver).temperature for _ in range(2)]
    assert fitted[0] == fitted[1]


def test_no_label_of_a_validation_image_is_looked_at() -> None:
    fitted = []
    for shift in (0, 1):
        validation = tuple(replace(i, label=(i.label + shift) % 4) for i in DATA.validation)
        data = replace(DATA, validation=validation)
        driver = MeteredOracle(FakeFeatureOracle(cosines=True), QueryLedger(0))
        fitted.append(prepare(SMALL_RUN, data, driver).temperature)
    assert fitted[0] == fitted[1]


def test_the_plan_of_the_driver_has_it() -> None:
    driver, _ = prepared_on(FakeFeatureOracle(cosines=True))
    document = {"kind": "http", "dialect": "infinity", "url": "http://host.test", "model": "clip"}
    asks = SMALL_RUN.model_copy(update={"oracle": EndpointConfig.model_validate(document)})
    more = plan_driver(asks, DATA.size).as_dict()
    known = plan_driver(SMALL_RUN, DATA.size).as_dict()
    assert more["head_predictions"] - known["head_predictions"] == len(DATA.train)
    assert more["text_encodes"] - known["text_encodes"] == driver.ledger.spent.text_encodes


@pytest.mark.parametrize(
    ("cosines", "labels"),
    [
        ([[0.3, 0.1]], [0]),
        ([[0.3, 0.1]] * 4, [0] * 4),
        ([[0.3, 0.1]] * 4, [1] * 4),
    ],
    ids=["one image", "all right", "all wrong"],
)
def test_what_images_do_not_determine_is_the_usual_factor_and_said(
    cosines: list[list[float]], labels: list[int]
) -> None:
    temperature = decide_temperature(np.array(cosines, np.float32), np.array(labels))
    assert temperature.scale == 100
    assert not temperature.is_determined
    assert "do not determine it" in temperature.describe()


def test_a_factor_stays_between_1_and_100() -> None:
    labels = np.array([0, 0, 0, 1])
    near = decide_temperature(np.array([[0.001, 0.0]] * 4, np.float32), labels)
    assert (near.scale, near.is_determined) == (100, False)
    far = decide_temperature(np.array([[9.0, 0.0]] * 4, np.float32), labels)
    assert (far.scale, far.is_determined) == (1, False)


def test_a_tuning_on_cosines_is_one_on_logits_of_that_scale() -> None:
    """Searched with losses, and by probes: every answer that anybody sees has the factor."""
    for config in (run_config(max_queries=16), probing("names")):
        results = []
        for cosines in (False, True):
            world = make_world(config, FakeFeatureOracle(cosines=cosines), DATA)
            exact = TaskTemperature(20.0, 1, is_determined=True)
            prepared = replace(world.prepared, temperature=exact if cosines else None)
            scale = prepared.logit_scale
            prepared = replace(prepared, zero_shot_NC=None)
            oracle = MeteredOracle(world.oracle, QueryLedger(config.max_queries), logit_scale=scale)
            trainer = make_trainer(oracle, prepared, config)
            reports = []
            while not trainer.finished:
                reports.append(trainer.run_generation())
            results.append((known(trainer.selected.validation), reports[-1].head_loss))
        assert results[0][0].accuracy == results[1][0].accuracy
        assert results[0][0].loss == pytest.approx(results[1][0].loss, rel=1e-2)
        assert results[0][1] == pytest.approx(results[1][1], rel=1e-3)


def test_losses_have_the_factor_and_are_not_mistaken_for_those_of_another(tmp_path: Path) -> None:
    world = make_world(oracle=FakeFeatureOracle(cosines=True), data=DATA)
    images, task = world.prepared.fitness, world.prepared.task
    cache = AnswerCache(tmp_path, 2**20)
    losses = []
    for scale in (1.0, 20.0, 20.0):
        oracle = MeteredOracle(world.oracle, QueryLedger(1), cache=cache, logit_scale=scale)
        contexts_1LE = task.initial_context[None]
        reduction = PromptLoss(images.labels_N, None, 0.0)
        losses.append(oracle.score(task, images.handle, contexts_1LE, reduction)[0])
        logits_NC = oracle.predict(task, images.handle, contexts_1LE, purpose="head")[0]
        assert losses[-1] == pytest.approx(score_logits(logits_NC, images.labels_N).loss, rel=1e-5)
    assert losses[0] != losses[1] == losses[2]
    assert oracle.ledger.spent.image_predictions == 0, "the cache has answers before the factor"
    cache.close()


def test_the_stored_classifier_applies_it(tmp_path: Path) -> None:
    oracle = FakeFeatureOracle(cosines=True)
    world = make_world(oracle=oracle, data=DATA)
    scale = world.prepared.logit_scale
    trainer, _ = world.trainer()
    task = ClassificationTask(world.prepared.class_names, world.prepared.template)
    zero_shot, oracle_id = trainer.selected.classifier, world.prepared.oracle_id
    place = locate(str(tmp_path / "best"))
    Artifact(zero_shot, task, oracle_id, logit_scale=scale).save(place)
    images = register_test_images(world.data, oracle).handle
    cosines_NC = oracle.predict(
        world.prepared.task, images, world.prepared.task.initial_context[None]
    )[0]
    logits_NC = Artifact.load(place).predict(oracle, images)
    np.testing.assert_allclose(logits_NC, cosines_NC * scale, rtol=1e-5)
    assert Artifact.load(place).content_id != Artifact(zero_shot, task, oracle_id).content_id
