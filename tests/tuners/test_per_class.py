"""Each class may have a context of its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from craft_ray.classifiers.artifact import ARRAYS_FILE, Artifact
from craft_ray.classifiers.classifier import PromptedClassifier
from craft_ray.classifiers.score import score_logits
from craft_ray.errors import ArtifactError, ConfigError
from craft_ray.metering.planned_spending import plan_run
from craft_ray.task import preparation
from craft_ray.task.preparation import classification_task
from craft_ray.tuners.base import Trainer
from craft_ray.tuners.state import load_state, save_state
from tests.support.world import World, make_world, register_test_images, run_config, world_data

DATA = world_data(shots=4, num_validation=10, num_test=50)
METHODS: dict[str, dict[str, Any]] = {
    "both": {},
    "prompt": {"method": "prompt"},
    "in batches": {"method": "prompt", "optimizer": {"batches": 2}},
    "searched for a linear head": {"head": {"kind": "linear", "folds": 2}},
    "two searched": {"head": {"kind": "probes", "names": 0, "contexts": 1, "folds": 2}},
}


def world_of(method: str, **prompt: Any) -> World:
    settings = {"max_queries": 80, **METHODS[method]}
    return make_world(run_config(prompt={"per_class": True, **prompt}, **settings), data=DATA)


def finished(world: World) -> Trainer:
    trainer, ledger = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    assert ledger.spent == plan_run(world.config, DATA.size)
    return trainer


def stored(folder: Path, world: World, trainer: Trainer) -> Artifact:
    task = classification_task(world.config, world.data)
    Artifact(trainer.selected.classifier, task, world.prepared.oracle_id).save(folder)
    return Artifact.load(folder)


@cache
def trained(method: str) -> tuple[World, Trainer]:
    """For any number of tests to look at."""
    world = world_of(method)
    return world, finished(world)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_learns_a_context_for_each_class_and_stores_them(method: str, tmp_path: Path) -> None:
    world, trainer = trained(method)
    artifact = stored(tmp_path, world, trainer)
    assert isinstance(artifact.classifier, PromptedClassifier)
    contexts_KCLE = artifact.classifier.asked_contexts()
    assert contexts_KCLE.shape[1] == 4
    assert np.ptp(contexts_KCLE, axis=1).max() > 0, "they differ"
    test = register_test_images(world.data, world.oracle)
    tuned = score_logits(artifact.predict(world.oracle, test.handle), test.labels_N)
    start = world.prepared.task.initial_context[None]
    zero_shot = world.oracle.predict(world.prepared.task, test.handle, start)[0]
    assert tuned.accuracy > score_logits(zero_shot, test.labels_N).accuracy + 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_ends_as_an_undisturbed_one(method: str, tmp_path: Path) -> None:
    _, whole = trained(method)
    trainer, _ = world_of(method).trainer()
    for _ in range(3):
        trainer.run_generation()
    save_state(trainer.state_dict(), tmp_path)
    resumed, _ = world_of(method).trainer()
    resumed.load_state_dict(load_state(tmp_path))
    while not resumed.finished:
        resumed.run_generation()
    first, second = whole.state_dict(), resumed.state_dict()
    assert first.values == second.values
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name, strict=True)


def test_a_run_may_start_from_contexts_of_classes_and_from_one_for_all(tmp_path: Path) -> None:
    single = make_world(run_config(method="prompt", max_queries=80), data=DATA)
    stored(tmp_path / "one", single, finished(single))
    own, trainer = trained("prompt")
    stored(tmp_path / "own", own, trainer)
    for place in ("one", "own"):
        start = world_of("prompt", start=str(tmp_path / place)).prepared.start_context(True)
        assert start.shape == (4, *own.prepared.task.initial_context.shape)
    stays = make_world(run_config(prompt={"start": str(tmp_path / "own")}), data=DATA)
    assert stays.prepared.start_context(per_class=False).ndim == 3


def test_contexts_of_other_classes_are_refused(tmp_path: Path) -> None:
    artifact = stored(tmp_path / "own", *trained("prompt"))
    names = artifact.task.class_names[::-1]
    task = type(artifact.task)(names, artifact.task.template)
    Artifact(artifact.classifier, task, artifact.oracle_id).save(tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"prompt\.start: must have been tuned for these cla"):
        world_of("prompt", start=str(tmp_path / "other"))
    head = {"kind": "probes", "names": 1, "vocabulary": ["bag"], "contexts": 0, "folds": 2}
    config = run_config(method="head", head=head, prompt={"start": str(tmp_path / "own")})
    with pytest.raises(ArtifactError, match="must have one context for all classes"):
        make_world(config, data=DATA)


def test_a_stored_classifier_has_as_many_contexts_as_classes(tmp_path: Path) -> None:
    artifact = stored(tmp_path, *trained("prompt"))
    task = type(artifact.task)(artifact.task.class_names[:3], artifact.task.template)
    Artifact(artifact.classifier, task, artifact.oracle_id).save(tmp_path / "fewer")
    law = rf"{ARRAYS_FILE}: context must be float32 \[3, >= 1, >= 1\], but is float32 \[4, "
    with pytest.raises(ArtifactError, match=law):
        Artifact.load(tmp_path / "fewer")


def test_laws() -> None:
    with pytest.raises(ValidationError, match="per_class must be false when method is whi"):
        run_config(prompt={"per_class": True}, method="white_box", oracle={"white_box": True})
    head = {"kind": "probes", "names": 2, "folds": 2}
    with pytest.raises(ValidationError, match="names must be 0 when prompt"):
        run_config(prompt={"per_class": True}, head=head)


def test_a_matrix_that_no_machine_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "MAX_PROJECTION_BYTES", 100)
    with pytest.raises(ConfigError, match=r"prompt\.projection: must not be gaussian .* fastfood"):
        world_of("prompt")
    world_of("prompt", projection="fastfood")


def test_classes_that_would_not_move_are_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"prompt\.intrinsic_dim: must be at least the number"):
        world_of("prompt", projection="per_token", intrinsic_dim=4)
