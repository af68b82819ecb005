"""The driver's questions: validation, and at the end the test split in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.predictions import PredictionLog
from craft_ray.classifiers.score import ScoreCount, score_logits
from craft_ray.data.dataset import Item
from craft_ray.metering import planned_spending
from craft_ray.oracle.contract import FloatArray, Images, OracleDescription
from craft_ray.task import sending
from craft_ray.task.preparation import FewShotData
from craft_ray.task.sending import plain_images
from tests.support.fake_oracle import EMBED_DIM, FakeOracle
from tests.support.recording import RecordingOracle
from tests.support.replicated_oracle import ReplicatedOracle
from tests.support.world import (
    BOTH_ANSWERS,
    World,
    make_world,
    metered,
    register_test_images,
    world_data,
)

DATA = world_data(shots=2, num_validation=2, num_test=7)
NUM_TEST = 28


def recorded_world(data: FewShotData = DATA) -> tuple[World, RecordingOracle]:
    oracle = RecordingOracle(FakeOracle(answers=BOTH_ANSWERS))
    return make_world(oracle=oracle, data=data), oracle


def classifiers(count: int) -> list[PromptClassifier]:
    rng = np.random.default_rng(1)
    contexts = rng.normal(0, 0.5, size=(count, 4, EMBED_DIM)).astype(np.float32)
    return [PromptClassifier(context, None) for context in contexts]


def blocks_of(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(planned_spending, "TEST_BLOCK_IMAGES", size)


def logits_of_all(world: World, classifier: PromptClassifier) -> FloatArray:
    images = register_test_images(world.data, world.oracle)
    contexts = classifier.context_LE[None]
    logits: FloatArray = world.oracle.predict(world.prepared.task, images.handle, contexts)[0]
    return logits


@pytest.mark.parametrize("block", [1, 5, 7, 28, 1000])
def test_blocks_do_not_show_in_the_scores(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    blocks_of(monkeypatch, block)
    world, _ = recorded_world()
    examined = classifiers(3)
    scores = Examiner(metered(world.oracle), world.prepared, DATA).test(examined)
    labels = register_test_images(DATA, world.oracle).labels_N
    for classifier, score in zip(examined, scores, strict=True):
        whole = score_logits(logits_of_all(world, classifier), labels)
        assert score.accuracy == whole.accuracy
        assert score.loss == pytest.approx(whole.loss, rel=1e-6)
    assert len({score.loss for score in scores}) == 3


def test_every_block_is_sent_once_is_not_kept_and_answers_all_classifiers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks_of(monkeypatch, 10)
    world, oracle = recorded_world()
    before, asked_before = list(oracle.registered), len(oracle.questions)
    driver = metered(world.oracle)
    examiner = Examiner(driver, world.prepared, DATA)
    assert oracle.registered == before, "test images wait until they are asked for"
    examiner.test(classifiers(2))
    sent = oracle.registered[len(before) :]
    assert len(set(sent)) == 3
    assert oracle.passing == sent
    asked = [question.images for question in oracle.questions[asked_before:]]
    assert asked == [digest for digest in sent for _ in range(2)]
    assert driver.ledger.spent.images_sent == NUM_TEST
    assert driver.ledger.spent.evaluation_predictions == 2 * NUM_TEST


def test_no_more_than_a_block_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def recording(items: Sequence[Item], description: OracleDescription) -> Images:
        sizes.append(len(items))
        return plain_images(items, description)

    blocks_of(monkeypatch, 10)
    world, _ = recorded_world()
    monkeypatch.setattr(sending, "plain_images", recording)
    Examiner(metered(world.oracle), world.prepared, DATA).test(classifiers(1))
    assert sizes == [10, 10, 8]


def test_only_scored_classes_are_predicted() -> None:
    scored = (1, 3)
    test = [item for item in DATA.dataset.splits["test"] if item.label in scored]
    dataset = replace(
        DATA.dataset, splits={**DATA.dataset.splits, "test": test}, scored_classes=scored
    )
    world, _ = recorded_world(replace(DATA, dataset=dataset))
    (classifier,) = classifiers(1)
    (score,) = Examiner(metered(world.oracle), world.prepared, world.data).test([classifier])
    logits = logits_of_all(world, classifier)
    labels = np.array([item.label for item in test])
    among_scored = np.array(scored)[logits[:, scored].argmax(axis=1)]
    assert score.accuracy == (among_scored == labels).mean()
    assert score.accuracy != (logits.argmax(axis=1) == labels).mean(), "the case tells them apart"


def test_the_loss_is_that_of_a_softmax_over_the_scored_classes() -> None:
    count = ScoreCount((0, 2))
    count.add(np.array([[1.0, 9.0, 2.0]], np.float32), np.array([2]))
    assert count.score.accuracy == 1.0
    assert count.score.loss == pytest.approx(np.log(1 + np.exp(-1.0)))


@pytest.mark.parametrize("at_once", [1, 3])
def test_as_many_blocks_are_asked_about_at_once_as_the_oracle_works_on(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    blocks_of(monkeypatch, 5)
    oracle = ReplicatedOracle(at_once)
    world = make_world(oracle=oracle, data=DATA)
    driver = metered(world.oracle)
    asked_before = len(oracle.asked)
    log = PredictionLog(None)
    scores = Examiner(driver, world.prepared, DATA).test(classifiers(2), log=log)
    assert oracle.most_under_way == at_once
    one, _ = recorded_world()
    alone = PredictionLog(None)
    assert scores == Examiner(metered(one.oracle), one.prepared, DATA).test(
        classifiers(2), log=alone
    )
    np.testing.assert_array_equal(log.predictions().labels_N, alone.predictions().labels_N)
    assert log.predictions().images == alone.predictions().images
    assert driver.ledger.spent.evaluation_predictions == 2 * NUM_TEST
    passing = set(oracle.asked[asked_before:])
    assert passing == set(oracle.forgotten), "nothing is held when it was asked about"
