"""The stored classifier: complete, bound to its oracle, and refused when it was tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.about import About
from craft_ray.classifiers.artifact import ARRAYS_FILE, CARD_FILE, DESCRIPTION_FILE, Artifact
from craft_ray.data.decoding import AS_STORED, Decoding
from craft_ray.errors import ArtifactError, UserError
from craft_ray.oracle.contract import ClassificationTask
from tests.support.artifacts import edit_arrays, edit_description
from tests.support.classifiers import as_prompt
from tests.support.fake_oracle import FakeOracle
from tests.support.world import make_world, register_test_images, run_config, world_data

DATA = world_data(shots=3, num_validation=4, num_test=5)


@cache
def trained(method: str = "both") -> Artifact:
    """For any number of tests to store."""
    world = make_world(run_config(method=method), data=DATA)
    trainer, _ = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    task = ClassificationTask(world.prepared.class_names, world.prepared.template)
    return Artifact(trainer.selected.classifier, task, world.prepared.oracle_id)


@pytest.fixture
def artifact() -> Artifact:
    return trained()


@pytest.fixture
def folder(artifact: Artifact, tmp_path: Path) -> Path:
    artifact.save(tmp_path / "best")
    return tmp_path / "best"


@pytest.mark.parametrize("method", ["both", "prompt", "head"])
def test_a_stored_classifier_predicts_as_the_one_that_was_trained(
    method: str, tmp_path: Path
) -> None:
    artifact = trained(method)
    artifact.save(tmp_path)
    loaded = Artifact.load(tmp_path)
    assert loaded.task == artifact.task
    assert loaded.oracle_id == artifact.oracle_id
    assert (as_prompt(loaded.classifier).head is None) == (method == "prompt")
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    task = oracle.register_task(artifact.task)
    raw = oracle.predict(task, images, as_prompt(artifact.classifier).context_LE[None])
    expected = artifact.classifier.refine(raw)
    np.testing.assert_array_equal(loaded.predict(oracle, images), expected)
    assert np.array_equal(expected, raw[0]) == (method == "prompt")


def test_a_new_process_needs_only_the_folder_and_the_oracle(folder: Path) -> None:
    # The oracle knows neither the task nor the images beforehand.
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle)
    logits = Artifact.load(folder).predict(oracle, images.handle)
    assert (logits.argmax(axis=1) == images.labels_N).mean() > 0.6


def test_another_oracle_is_refused(folder: Path) -> None:
    other = FakeOracle(seed=1)
    images = register_test_images(DATA, other).handle
    with pytest.raises(ArtifactError, match=r"oracle_id: must be .* as tuned, but the oracle is"):
        Artifact.load(folder).predict(other, images)


def test_another_transform_of_images_is_named(folder: Path) -> None:
    artifact = replace(Artifact.load(folder), about=About(image_mean=(0.5,) * 3))
    description = FakeOracle(seed=1).describe()
    other = replace(description, resize_mode="squash", image_mean=(0.1,) * 3)
    with pytest.raises(ArtifactError) as refused:
        artifact.check_oracle(other)
    message = str(refused.value)
    assert "view was short side resized" in message
    assert "and is both sides resized" in message
    assert "image_mean was (0.5, 0.5, 0.5) and is (0.1, 0.1, 0.1)" in message
    assert "oracle.resize_mode" in message
    with pytest.raises(ArtifactError, match=r"but the oracle is \w+$"):
        artifact.check_oracle(replace(description, image_mean=(0.5,) * 3))


@pytest.mark.parametrize(
    ("weights", "takes_any_precision", "problem"),
    [
        ("w", True, None),
        ("w", False, r"oracle_id: .*; its weights are the same: any_precision=True accepts it"),
        ("v", True, r"oracle_id: must be .* but the oracle is \w+$"),
        ("", True, r"oracle_id: must be .* but the oracle is \w+$"),
    ],
)
def test_the_same_weights_in_another_precision_are_taken_on_request(
    artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: str,
    takes_any_precision: bool,
    problem: str | None,
) -> None:
    replace(artifact, weights_id="w").save(tmp_path)
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    expected = artifact.predict(oracle, images)
    there = replace(oracle.describe(), oracle_id="laptop", weights_id=weights)
    monkeypatch.setattr(oracle, "describe", lambda: there)
    loaded = Artifact.load(tmp_path)
    if problem is None:
        answer = loaded.predict(oracle, images, any_precision=takes_any_precision)
        np.testing.assert_array_equal(answer, expected)
        return
    with pytest.raises(ArtifactError, match=problem):
        loaded.predict(oracle, images, any_precision=takes_any_precision)


def test_saving_again_replaces_what_was_stored(folder: Path) -> None:
    other = trained("prompt")
    other.save(folder)
    loaded = Artifact.load(folder)
    assert as_prompt(loaded.classifier).head is None
    np.testing.assert_array_equal(
        as_prompt(loaded.classifier).context_LE, as_prompt(other.classifier).context_LE
    )
    assert {path.name for path in folder.iterdir()} == {ARRAYS_FILE, DESCRIPTION_FILE, CARD_FILE}


@pytest.mark.parametrize("name", [ARRAYS_FILE, DESCRIPTION_FILE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
        Artifact.load(folder)


@pytest.mark.parametrize("name", [ARRAYS_FILE, DESCRIPTION_FILE])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=f"{name}: cannot be read"):
        Artifact.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d.pop("format_version"), id="no version"),
        pytest.param(lambda d: d.update(format_version=4), id="another version"),
        pytest.param(lambda d: d.pop("class_names"), id="no class names"),
        pytest.param(lambda d: d.update(class_names=None), id="class names are null"),
        pytest.param(lambda d: d.update(class_names=3), id="class names are a number"),
        pytest.param(lambda d: d.pop("template"), id="no template"),
        pytest.param(lambda d: d.pop("oracle_id"), id="no oracle"),
        pytest.param(lambda d: d.update(kind="prompt"), id="the head is denied"),
    ],
)
def test_a_tampered_description_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_description(folder, change)
    with pytest.raises(ArtifactError):
        Artifact.load(folder)


def test_a_description_that_is_no_object_is_refused(folder: Path) -> None:
    (folder / DESCRIPTION_FILE).write_text("[]")
    with pytest.raises(ArtifactError, match="must be a JSON object, but is list"):
        Artifact.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a.pop("context"), id="no context"),
        pytest.param(lambda a: [a.pop(n) for n in list(a) if n != "context"], id="no head"),
        pytest.param(lambda a: a.pop("head.enter.weight"), id="a part of the head is gone"),
        pytest.param(lambda a: a.pop("head.leave.bias"), id="another part of the head is gone"),
        pytest.param(lambda a: a.update({"head.extra": a["context"]}), id="a part too many"),
        pytest.param(lambda a: a.update({"context": a["context"][:, :-1]}), id="narrow context"),
        pytest.param(lambda a: a.update({"context": a["context"][0]}), id="flat context"),
        pytest.param(lambda a: a["context"].fill(np.nan), id="NaN in the context"),
        pytest.param(
            lambda a: a.update({"head.leave.bias": a["head.leave.bias"][:-1]}), id="small head"
        ),
        pytest.param(
            lambda a: a.update({"head.enter.weight": a["head.enter.weight"][:, :-1]}),
            id="a head of another task",
        ),
    ],
)
def test_tampered_arrays_never_become_predictions(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_arrays(folder, change)
    oracle = FakeOracle()
    images = register_test_images(DATA, oracle).handle
    with pytest.raises(UserError):
        Artifact.load(folder).predict(oracle, images)


def test_a_classifier_remembers_how_its_images_were_decoded(
    artifact: Artifact, tmp_path: Path
) -> None:
    seen = replace(artifact, decoding=Decoding(background="grey"))
    seen.save(tmp_path)
    assert Artifact.load(tmp_path).decoding == Decoding(background="grey")
    assert Artifact.load(tmp_path).content_id == seen.content_id != artifact.content_id
    assert "turned as EXIF says; transparent parts on grey" in (tmp_path / CARD_FILE).read_text()


def test_a_classifier_of_an_older_version_was_tuned_on_images_as_they_are_stored(
    artifact: Artifact, folder: Path
) -> None:
    assert "decoding" not in json.loads((folder / DESCRIPTION_FILE).read_text())
    loaded = Artifact.load(folder)
    assert loaded.decoding == AS_STORED
    assert loaded.content_id == artifact.content_id
    assert "not turned as EXIF says" in (folder / CARD_FILE).read_text()
