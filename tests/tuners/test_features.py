"""A linear head on features: one question an image, and no text at deployment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.earlier_prompt import earlier_prompt
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.kinds import FeaturesClassifier
from craft_ray.config.loading import load_run_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.errors import ArtifactError, ConfigError, OracleError
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.method.heads import FittedHead, fit_head
from craft_ray.oracle.contract import FloatArray, ImageHandle
from craft_ray.task.preparation import classification_task, prepare
from craft_ray.tuners import features
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import load_state, save_state
from tests.support.artifacts import edit_arrays
from tests.support.fake_oracle import FakeOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.probing import finish
from tests.support.world import (
    World,
    make_world,
    metered,
    mislabelled,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(shots=6, num_validation=5, num_test=30)
WORDS = ["method=head", "head.kind=features", "oracle.features=true"]


def settings(**changes: object) -> RunConfig:
    head, oracle = {"kind": "features", "folds": 3}, {"features": True}
    return run_config(method="head", head=head, oracle=oracle, **changes)


@dataclass(frozen=True)
class Training:
    """A training that has ended, for any number of tests to look at."""

    world: World
    oracle: FakeFeatureOracle
    trainer: Trainer
    ledger: QueryLedger
    reports: list[GenerationReport]


@cache
def finished(*, cosines: bool = False) -> Training:
    oracle = FakeFeatureOracle(cosines=cosines)
    world = make_world(settings(), oracle, DATA)
    oracle.images_predicted = 0
    ledger = QueryLedger(world.config.max_queries)
    asked = MeteredOracle(oracle, ledger, logit_scale=world.prepared.logit_scale)
    trainer = make_trainer(asked, world.prepared, world.config)
    return Training(world, oracle, trainer, ledger, finish(trainer))


def stored(training: Training, folder: Path) -> Artifact:
    task = classification_task(training.world.config, DATA)
    classifier, oracle_id = training.trainer.selected.classifier, training.world.prepared.oracle_id
    artifact = Artifact(classifier, task, oracle_id, oracle=training.world.config.oracle)
    artifact.save(folder)
    return artifact


@pytest.mark.parametrize("cosines", [False, True])
def test_it_improves_accuracy_on_images_it_never_saw(cosines: bool) -> None:
    training = finished(cosines=cosines)
    examiner = Examiner(metered(training.oracle), training.world.prepared, DATA)
    classifier = training.trainer.selected.classifier
    before, after = examiner.test([examiner.zero_shot, classifier])
    assert after.accuracy > before.accuracy + 0.1


def test_each_image_is_asked_about_once_for_one_query_and_it_spends_what_was_planned() -> None:
    training = finished()
    spent = training.ledger.spent
    assert spent == plan_run(training.world.config, DATA.size)
    assert spent == Spending(
        candidate_queries=1,
        search_predictions=24,
        head_predictions=2 * 24,
        evaluation_predictions=20,
        text_encodes=4,
    )
    assert training.oracle.images_predicted == 0, "features are all it asks for"
    assert training.oracle.images_embedded == 3 * 24 + 20
    assert len(training.reports) == 1


def test_the_driver_spends_what_was_planned() -> None:
    world, trainer = finished().world, finished().trainer
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(world.config, DATA, driver), DATA)
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot, trainer.selected.classifier])
    assert examiner.spent == plan_driver(world.config, DATA.size)


def test_held_out_training_images_count_beside_validation() -> None:
    evidence = finished().trainer.selected.evidence
    assert evidence.held_out is not None
    assert evidence.held_out.accuracy > 0.5


def test_what_validation_denies_is_not_returned() -> None:
    world = mislabelled(make_world(settings(), FakeFeatureOracle(), DATA))
    trainer, _ = world.trainer()
    finish(trainer)
    assert trainer.selected.generation == 0
    assert trainer.selected.classifier.kind == "prompt"


def test_a_resumed_training_is_the_undisturbed_one(tmp_path: Path) -> None:
    """From its state after the generation; and from the record of a process that died in it."""
    undisturbed = finished()
    world = undisturbed.world
    save_state(undisturbed.trainer.state_dict(), tmp_path / "state")
    resumed, _ = world.trainer()
    resumed.load_state_dict(load_state(tmp_path / "state"))
    assert resumed.finished
    again = []
    for _ in range(2):
        with QueryJournal(tmp_path / "journal.db") as journal:
            ledger = QueryLedger(world.config.max_queries)
            trainer = make_trainer(
                MeteredOracle(undisturbed.oracle, ledger, journal), world.prepared, world.config
            )
            before = undisturbed.oracle.images_embedded
            assert finish(trainer) == undisturbed.reports
            again.append(undisturbed.oracle.images_embedded - before)
            assert ledger.spent == undisturbed.ledger.spent
    assert again == [3 * 24 + 20, 0]
    for other in (resumed, trainer):
        state, expected = other.state_dict(), undisturbed.trainer.state_dict()
        assert state.values == expected.values
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(state.arrays[name], array)


@pytest.mark.parametrize("exported", [False, True])
def test_what_is_deployed_asks_for_one_feature_an_image_and_for_no_text(
    tmp_path: Path, exported: bool
) -> None:
    training = finished()
    artifact = stored(training, tmp_path / "best")
    if exported:
        artifact.export(tmp_path / "best2")
    loaded = Artifact.load(tmp_path / ("best2" if exported else "best"))
    assert isinstance(loaded.classifier, FeaturesClassifier)
    assert loaded.classifier.predictions_per_image == 1
    assert loaded.oracle is not None
    assert isinstance(loaded.oracle, OracleConfig)
    assert loaded.oracle.features
    oracle = FakeFeatureOracle()
    images = register_test_images(DATA, oracle).handle
    logits_NC = loaded.predict(oracle, images)
    trained = training.trainer.selected.classifier
    task = classification_task(training.world.config, DATA)
    np.testing.assert_array_equal(logits_NC, trained.predict(metered(oracle), task, images))
    assert (oracle.images_predicted, oracle.texts_embedded) == (0, 0)
    assert oracle.images_embedded == 2 * images.num_images


def test_its_card_says_what_it_is_and_needs(tmp_path: Path) -> None:
    card = stored(finished(), tmp_path).card("best")
    assert "A linear head on image features" in card
    assert "no features" not in card
    assert "1 prediction(s) an image" in card


def test_it_is_not_used_with_a_model_that_gives_no_features(tmp_path: Path) -> None:
    artifact = stored(finished(), tmp_path)
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    with pytest.raises(OracleError, match=r"oracle\.features: must be true"):
        artifact.predict(oracle, images)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    stored(finished(), tmp_path)

    def cut(arrays: dict[str, FloatArray]) -> None:
        arrays["weight"] = arrays["weight"][:, :3]

    edit_arrays(tmp_path, cut)
    with pytest.raises(ArtifactError, match=r"weight must be float32 \[>= 1, 4\], but is"):
        Artifact.load(tmp_path)


def test_no_prompt_can_be_started_from_it(tmp_path: Path) -> None:
    stored(finished(), tmp_path)
    config = run_config(prompt={"start": str(tmp_path)})
    task = classification_task(config, DATA)
    with pytest.raises(ArtifactError, match=r"must have one prompt, but .* is a head on features"):
        earlier_prompt(config, task, finished().oracle.describe())


def test_no_prompt_can_be_started_from_where_only_texts_are_taken(tmp_path: Path) -> None:
    """It would change nothing but what counts as held out."""
    config = run_config(prompt={"start": str(tmp_path)})
    takes_texts = replace(finished().oracle.describe(), embed_dim=0)
    with pytest.raises(
        ArtifactError, match=r"prompt\.start: must be null for a model that takes no"
    ):
        earlier_prompt(config, classification_task(config, DATA), takes_texts)


@pytest.mark.parametrize("cosines", [False, True])
def test_zero_shot_is_what_the_head_corrects_at_the_oracles_scale(
    cosines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, oracle = finished(cosines=cosines).world, finished(cosines=cosines).oracle
    fits = []

    def watch(*arguments: Any, **more: Any) -> FittedHead:
        fits.append((arguments, fit_head(*arguments, **more)))
        return fits[-1][1]

    monkeypatch.setattr(features, "fit_head", watch)
    asked = MeteredOracle(oracle, QueryLedger(1), logit_scale=world.prepared.logit_scale)
    trainer = make_trainer(asked, world.prepared, world.config)
    finish(trainer)
    ((_, features_VNF, *_, zero_shot_VNC), fitted) = fits[0]
    task = world.prepared.task
    handles = (world.prepared.fitness.handle, *world.view_handles)
    predicted = [
        asked.predict(task, h, task.initial_context[None], purpose="head")[0] for h in handles
    ]
    np.testing.assert_allclose(zero_shot_VNC, np.stack(predicted), atol=1e-4)
    # What is deployed is the sum of both parts.
    deployed = trainer.selected.classifier
    assert isinstance(deployed, FeaturesClassifier)
    both_NC = fitted.head(features_VNF[0]) + fitted.base_scale * zero_shot_VNC[0]
    np.testing.assert_allclose(deployed.head(features_VNF[0]), both_NC, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["oracle.features=false"],
            r"head.kind features needs oracle.features true, but got",
        ),
        (["method=both"], r"method must be head when head.kind is features, but got both"),
        (["method=prompt"], r"method must be head or both when head.kind is features"),
        (["prompt.start=somewhere"], r"prompt.start must be null when head.kind is features"),
        (["data.views=fresh"], r"data.views must be a number when head.kind is features"),
    ],
)
def test_settings_that_do_not_fit_are_refused(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_run_config(None, [*WORDS, *words])


def test_an_open_box_gives_features_as_well() -> None:
    words = [*WORDS[:2], "oracle.white_box=true"]
    assert load_run_config(None, words).local_model.serves_features


def test_an_oracle_that_gives_none_is_refused_before_anything_is_sent() -> None:
    oracle = MeteredOracle(FakeOracle(), QueryLedger(0))
    with pytest.raises(OracleError, match=r"oracle\.features: must be true"):
        prepare(settings(), DATA, oracle)
    assert oracle.ledger.spent == Spending()


def test_handles_are_told_apart() -> None:
    """A part of a set has an answer of its own."""
    oracle = MeteredOracle(FakeFeatureOracle(), QueryLedger(0))
    handle: ImageHandle = oracle.register_images(np.zeros((3, 3, 8, 8), np.uint8))
    assert len(oracle.embed_images(handle.part([1]), purpose="evaluation")) == 1
