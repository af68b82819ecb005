"""Where a head starts from: the template's logits, or the mean of more texts of each class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.classifier import ProbesClassifier
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.method.heads import choose_offset, fit_head
from craft_ray.task.preparation import classification_task, prepare
from craft_ray.task.prepared import SharedProbes
from craft_ray.tuners.features import FeaturesTrainer
from tests.support.fake_oracle import FakeOracle
from tests.support.feature_oracle import FakeFeatureOracle
from tests.support.probing import finish
from tests.support.recording import RecordingOracle
from tests.support.world import (
    CLASS_NAMES,
    World,
    make_world,
    metered,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(shots=4, num_validation=5, num_test=20)
STRANGE = "purple purple purple {}."
"""A template under which zero-shot is bad."""


def right(name: str) -> list[str]:
    return [name.replace(" ", "_")]


def wrong(name: str) -> list[str]:
    return right(CLASS_NAMES[CLASS_NAMES.index(name) - 1])


def described(folder: Path, sentences: Any = right) -> str:
    place = folder / "cupl.json"
    place.write_text(json.dumps({name: sentences(name) for name in CLASS_NAMES}))
    return str(place)


def probing(offset: str, *, template: str = STRANGE, **head: Any) -> RunConfig:
    kind = {"kind": "probes", "names": 5, "folds": 3, "offset": offset, **head}
    return run_config(method="head", head=kind, data={"template": template})


def test_the_likeliest_offset_is_chosen_and_the_first_of_equal_ones() -> None:
    labels_N = np.array([0, 1, 2, 0])
    good_NC = 3 * np.eye(3, dtype=np.float32)[labels_N]
    bad_NC = good_NC[:, [1, 2, 0]]
    chosen = choose_offset({"template": bad_NC, "other": good_NC}, labels_N, "other")
    assert chosen.name == "other"
    assert chosen.losses["other"] < chosen.losses["template"]
    assert choose_offset({"template": good_NC, "other": bad_NC}, labels_N, "other").name != "other"
    assert choose_offset({"template": good_NC, "x": good_NC}, labels_N, "x").name == "template"


def test_without_labelled_images_what_was_asked_for_is_taken() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    chosen = choose_offset({"template": nothing, "x": nothing}, np.zeros(0, np.int64), "x")
    assert (chosen.name, chosen.losses) == ("x", {})


def test_a_mean_of_columns_is_corrected_as_the_first_columns_are() -> None:
    """The head does not see which columns it starts from: only what they are."""
    random = np.random.default_rng(0)
    labels_N = np.repeat(np.arange(3), 8)
    logits_VNF = random.normal(size=(2, 24, 12)).astype(np.float32)
    logits_VNF[:, np.arange(24), labels_N] += 1
    order = [9, 10, 11, *range(9)]
    offset_FC = np.zeros((12, 3), np.float32)
    offset_FC[[0, 1, 2], [0, 1, 2]] = 1
    first = fit_head("anchored", logits_VNF, labels_N, 3, 4, 0)
    given = fit_head("anchored", logits_VNF, labels_N, 3, 4, 0, offset_FC=offset_FC)
    moved = fit_head(
        "anchored", logits_VNF[:, :, order], labels_N, 3, 4, 0, offset_FC=offset_FC[order]
    )
    expected = first.head(logits_VNF[0])
    np.testing.assert_allclose(given.head(logits_VNF[0]), expected, atol=1e-4)
    np.testing.assert_allclose(moved.head(logits_VNF[0][:, order]), expected, atol=1e-2)


def trained(config: RunConfig, oracle: FakeOracle | None = None) -> tuple[World, Any, Any]:
    world = make_world(config, oracle, DATA)
    trainer, ledger = world.trainer()
    finish(trainer)
    return world, trainer, ledger


@pytest.mark.parametrize(("sentences", "offset"), [(right, "cupl.json"), (wrong, "template")])
@pytest.mark.parametrize("kind", ["probes", "linear"])
def test_training_images_choose_and_the_choice_is_told(
    kind: str, sentences: Any, offset: str, tmp_path: Path
) -> None:
    names = {} if kind == "linear" else {"names": 5}
    head = {"kind": kind, "folds": 3, "offset": described(tmp_path, sentences), **names}
    config = run_config(method="head", head=head, data={"template": STRANGE})
    _, trainer, _ = trained(config)
    findings = trainer.findings
    assert findings.offset.endswith(offset)
    assert list(findings.offset_losses) == ["template", head["offset"]]
    assert findings.offset_losses[findings.offset] == min(findings.offset_losses.values())
    told = findings.sentences(CLASS_NAMES)[0]
    assert told.startswith("Offset: ")
    assert "by the loss on the training images" in told
    assert findings.restore(json.loads(json.dumps(findings.as_dict()))) == findings


def test_findings_of_earlier_versions_are_read() -> None:
    _, trainer, _ = trained(probing("template"))
    values = trainer.findings.as_dict()
    earlier = {name: value for name, value in values.items() if not name.startswith("offset")}
    assert trainer.findings.restore(earlier) == trainer.findings


def test_it_is_one_question_an_image_and_the_plan_is_exact(tmp_path: Path) -> None:
    recording = RecordingOracle(FakeOracle())
    config = probing(described(tmp_path, lambda name: [*right(name), "a wet " + right(name)[0]]))
    world = make_world(config, recording, DATA)
    trainer, ledger = world.trainer()
    recording.questions.clear()
    finish(trainer)
    size = world.data.described_for(config).size
    assert size.num_sentences == 8
    assert ledger.spent == plan_run(config, size)
    assert ledger.spent.candidate_queries == 1
    # Plain images, two views and validation: 4 classes, 5 names, 8 sentences each.
    assert ledger.spent.text_encodes == 4 * (4 + 5 + 8)
    driver = MeteredOracle(world.oracle, QueryLedger(0))
    examiner = Examiner(driver, prepare(config, DATA, driver), DATA)
    examiner.validate_zero_shot()
    examiner.test([examiner.zero_shot, trainer.selected.classifier])
    assert examiner.spent == plan_driver(config, size)


def test_a_stored_classifier_asks_the_same_texts(tmp_path: Path) -> None:
    world, trainer, _ = trained(probing(described(tmp_path)))
    classifier = trainer.selected.classifier
    assert isinstance(classifier, ProbesClassifier)
    assert classifier.prompts == tuple(right(name)[0] for name in CLASS_NAMES)
    task = classification_task(world.config, DATA)
    artifact = Artifact(classifier, task, world.prepared.oracle_id)
    artifact.save(tmp_path / "best")
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    loaded = Artifact.load(tmp_path / "best")
    assert loaded.content_id == artifact.content_id
    assert loaded.classifier.prompts == classifier.prompts
    expected = classifier.predict(metered(oracle), task, images)
    np.testing.assert_array_equal(loaded.predict(oracle, images), expected)


def test_a_classifier_without_texts_is_stored_as_ever() -> None:
    world, trainer, _ = trained(probing("template"))
    task = classification_task(world.config, DATA)
    artifact = Artifact(trainer.selected.classifier, task, world.prepared.oracle_id)
    assert "prompts" not in artifact.description()


def test_a_trial_finds_its_own_columns_among_those_of_a_search(tmp_path: Path) -> None:
    """Other trials ask about more names: the texts come behind all of them."""
    config = probing(described(tmp_path))
    world, alone, _ = trained(config)
    more = (*alone.selected.classifier.extra_names, "a further name", "another one")
    shared = SharedProbes(1, (more,))
    prepared = {**vars(world.prepared), "shared_probes": shared}
    together = World(config, world.oracle, DATA, type(world.prepared)(**prepared))
    trainer, _ = together.trainer()
    finish(trainer)
    found, expected = (t.selected.classifier.arrays() for t in (trainer, alone))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)


@pytest.mark.parametrize(("sentences", "offset"), [(right, "cupl.json"), (wrong, "template")])
def test_features_start_from_the_mean_of_the_texts(
    sentences: Any, offset: str, tmp_path: Path
) -> None:
    head = {"kind": "features", "folds": 3, "offset": described(tmp_path, sentences)}
    settings = {"oracle": {"features": True}, "data": {"template": STRANGE}}
    config = run_config(method="head", head=head, **settings)
    oracle = FakeFeatureOracle()
    world, trainer, ledger = trained(config, oracle)
    assert isinstance(trainer, FeaturesTrainer)
    assert trainer.findings is not None
    assert trainer.findings.offset.endswith(offset)
    assert ledger.spent == plan_run(config, world.data.described_for(config).size)
    assert ledger.spent.text_encodes == oracle.texts_embedded == 2 * len(CLASS_NAMES)
    assert trainer.selected.classifier.prompts == ()
