"""Images without labels: asked about once, learned from, on record."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.run import RunConfig
from craft_ray.errors import OracleError
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.oracle.contract import FloatArray, ImageHandle
from craft_ray.task.preparation import FewShotData, prepare
from craft_ray.tuners.state import load_state, save_state
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.probing import HEADS, finish, probing
from tests.support.world import make_world, metered, run_config, world_data

SHOTS, NUM_UNLABELLED = 2, 15


@cache
def data() -> FewShotData:
    """The validation images of another draw are those without labels."""
    own = world_data(shots=SHOTS, num_test=50)
    more = world_data(shots=SHOTS + NUM_UNLABELLED)
    taken = {item.encoded for item in own.train}
    rest = [replace(item, label=-1) for item in more.train if item.encoded not in taken]
    return replace(own, unlabelled=tuple(rest))


def settings(head: str) -> RunConfig:
    if head == "features":
        own, oracle = {"kind": "features", "folds": 2}, {"features": True}
        return run_config(method="head", head=own, oracle=oracle, data={"unlabelled": "rest"})
    return probing(head, data={"unlabelled": "rest"})


KINDS = ["linear", "names", "contexts", "features"]


@pytest.mark.parametrize("head", KINDS)
def test_it_spends_what_was_planned_and_a_resumed_training_is_the_undisturbed_one(
    head: str, tmp_path: Path
) -> None:
    oracle = FakeFeatureOracle()
    world = make_world(settings(head), oracle, data())
    trainer, ledger = world.trainer()
    reports = finish(trainer)
    size = data().size
    assert size.num_unlabelled == len(data().unlabelled) > 0
    plan = plan_run(world.config, size)
    without = plan_run(world.config, replace(size, num_unlabelled=0))
    assert ledger.spent == plan
    num_contexts = HEADS.get(head, {}).get("contexts", 0) + 1
    more = plan.head_predictions - without.head_predictions
    assert more == num_contexts * size.num_unlabelled
    assert trainer.findings is not None
    assert trainer.findings.num_unlabelled == size.num_unlabelled
    save_state(trainer.state_dict(), tmp_path / "state")
    again, _ = world.trainer()
    again.load_state_dict(load_state(tmp_path / "state"))
    assert again.findings == trainer.findings
    assert again.finished
    with QueryJournal(tmp_path / "queries.db") as journal:
        stopped, _ = world.trainer(journal)
        stopped.run_generation()
        save_state(stopped.state_dict(), tmp_path / "first")
        resumed, _ = world.trainer(journal)
        resumed.load_state_dict(load_state(tmp_path / "first"))
        assert finish(resumed) == reports[1:]
    for name, array in trainer.state_dict().arrays.items():
        np.testing.assert_array_equal(resumed.state_dict().arrays[name], array)


def test_the_driver_sends_them_once() -> None:
    config = settings("linear")
    driver = MeteredOracle(FakeFeatureOracle(), QueryLedger(0))
    examiner = Examiner(driver, prepare(config, data(), driver), data())
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot])
    size = data().size
    sent = driver.ledger.spent.images_sent
    assert sent == (1 + 2) * size.num_train + size.num_unlabelled + size.num_validation + (
        size.num_test
    )
    assert sent == plan_driver(config, size).images_sent
    plan = plan_driver(config, data().size)
    assert plan.images_sent - plan_driver(
        config, replace(data().size, num_unlabelled=0)
    ).images_sent == len(data().unlabelled)


@pytest.mark.parametrize("head", ["names", "features"])
def test_they_help_where_labels_are_few(head: str) -> None:
    accuracies = []
    for these in (replace(data(), unlabelled=()), data()):
        oracle = FakeFeatureOracle()
        world = make_world(settings(head), oracle, these)
        trainer, _ = world.trainer()
        finish(trainer)
        examiner = Examiner(metered(oracle), world.prepared, these)
        accuracies.append(examiner.test([trainer.selected.classifier])[0].accuracy)
    assert accuracies[1] >= accuracies[0]


def test_what_was_found_is_said() -> None:
    world = make_world(settings("names"), FakeFeatureOracle(), data())
    trainer, _ = world.trainer()
    finish(trainer)
    assert trainer.findings is not None
    said = " ".join(trainer.findings.sentences(world.prepared.class_names))
    assert "unlabelled images" in said
    assert sum(trainer.findings.frequencies) == pytest.approx(1, abs=1e-3)
    missing = replace(
        trainer.findings, uses_unlabelled=False, frequencies=(0.9, 0.1, 0.0, 0.0), classes_met=1.4
    )
    assert "hold about 1.4 of the 4 classes (cat 90%" in missing.sentences(
        world.prepared.class_names
    )[0].replace("'", "")
    few_names = replace(trainer.findings, num_unlabelled=0, rank=30, num_answers=34, num_rows=500)
    assert "about 60 may show more" in few_names.sentences(world.prepared.class_names)[0]
    of_features = replace(few_names, are_of_names=False)
    assert of_features.sentences(world.prepared.class_names) == []


def test_of_features_no_more_can_be_asked() -> None:
    world = make_world(settings("features"), FakeFeatureOracle(), data())
    trainer, _ = world.trainer()
    finish(trainer)
    assert trainer.findings is not None
    assert not trainer.findings.are_of_names


class Overflowing(FakeFeatureOracle):
    """Of one image it knows no number, from when it is told so."""

    overflows = False

    def predict(self, *asked: Any, **named: Any) -> FloatArray:
        return self._broken(super().predict(*asked, **named))

    def embed_images(self, images: ImageHandle) -> FloatArray:
        return self._broken(super().embed_images(images))

    def _broken(self, answers: FloatArray) -> FloatArray:
        if self.overflows:
            answers = answers.copy()
            answers[..., 1, :] = np.nan
        return answers


@pytest.mark.parametrize("head", KINDS)
def test_answers_that_are_no_numbers_are_refused_in_words(head: str) -> None:
    oracle = Overflowing()
    world = make_world(settings(head), oracle, data())
    trainer, _ = world.trainer()
    oracle.overflows = True
    with pytest.raises(OracleError, match=r"answers: must be finite .* 1 of 8 images have NaN"):
        trainer.run_generation()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"head": {"kind": "residual_mlp"}}, "data.unlabelled must be null unless method is head"),
        ({"method": "both"}, "data.unlabelled must be null unless method is head"),
        ({"head": {"kind": "linear", "fit": "gda"}}, "head.fit is gda"),
    ],
)
def test_what_does_not_learn_from_them_is_refused(changes: dict[str, object], problem: str) -> None:
    settings = {"method": "head", "head": {"kind": "linear"}, **changes}
    with pytest.raises(ValueError, match=problem):
        run_config(data={"unlabelled": "rest"}, **settings)
