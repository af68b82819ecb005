"""Runs without validation images, and without training images, from the settings to the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import craft_ray
from craft_ray.api.results import TrainResult
from craft_ray.classifiers.artifact import Artifact
from craft_ray.commands import runs
from craft_ray.config.loading import load_default_run
from craft_ray.metering.planned_spending import plan_driver, plan_run
from craft_ray.task.preparation import load_data
from craft_ray.task.trained_on import read_training_images
from tests.support.known import known
from tests.support.small_data import small_data

SMALL: dict[str, Any] = {
    "data.views": 1,
    "head.names": 5,
    "pool.replicas": 1,
    "pool.threads_per_replica": 1,
    "mlflow.enabled": False,
}
NONE: dict[str, Any] = {**SMALL, "data.validation": "none"}
SPACE: dict[str, Any] = {
    "base": {"method": "head", "head": {"kind": "probes"}, "max_queries": 10},
    "parameters": {"head.contexts": {"kind": "choice", "values": [1, 2]}},
    "trials": 2,
    "sampler": {"kind": "random"},
    "scheduler": {"kind": "none"},
}


def source(*, with_test: bool) -> dict[str, Any]:
    """The small data, in the present folder without its test images."""
    root = Path(small_data().partition("root: ")[2].removesuffix("}"))
    if not with_test:
        root = Path(shutil.copytree(root, Path.cwd() / "data", dirs_exist_ok=True))
        (root / "test.parquet").unlink()
    return {"data.source.kind": "parquet", "data.source.root": str(root)}


def trained(name: str, settings: dict[str, Any], *, with_test: bool) -> TrainResult:
    """In the present folder; no number of its files is NaN, and it has cost what was planned."""
    settings = {**settings, **source(with_test=with_test)}
    result = craft_ray.train(None, {**settings, "name": name}, progress=False)
    check_whole(result)
    words = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    config = load_default_run(words)
    size = load_data(config).size
    assert result.spent == plan_run(config, size) + plan_driver(config, size)
    assert result.spent.evaluation_predictions == (2 - (size.num_train == 0)) * size.num_test
    return result


def check_whole(result: TrainResult) -> None:
    for file in (result.folder / "summary.json", result.classifier_folder / "classifier.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)
    assert (result.folder / "report.html").is_file()


def page_of(result: TrainResult) -> str:
    return str((result.folder / "report.html").read_text())


def card_of(result: TrainResult) -> str:
    return str((result.classifier_folder / "README.md").read_text())


@pytest.mark.slow
def test_held_out_images_tell_how_good_it_is(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**NONE, "data.shots": 4, "mlflow.enabled": True}
    result = trained("four", settings, with_test=False)
    assert (result.validation, result.test, result.zero_shot) == (None, None, None)
    assert known(result.held_out).images == 40
    assert len(read_training_images(result.folder)) == 40
    summary = result.summary
    assert (summary["data"]["num_validation"], summary["data"]["validation_manifest"]) == (0, None)
    assert summary["zero_shot"]["validation"] is None
    assert summary["zero_shot"]["held_out"]["accuracy"] > 0
    found = summary["tuned"]
    assert (found["validation"], found["judged_by"]) == (None, "held_out")
    assert found["held_out"]["accuracy"] == known(result.held_out).accuracy
    page = page_of(result)
    assert "accuracy on 40 held-out training images" in page
    assert found["verdict"] in page
    assert "held-out training images (it was chosen on these)" in card_of(result)
    assert "validation" not in card_of(result).replace("no validation images", "")
    assert runs.main(["show", "four"]) == 0
    shown = capsys.readouterr().out
    assert found["verdict"] in shown
    assert "nan" not in shown.lower()
    ((metrics, uses),) = recorded(tmp_path)
    assert metrics["accuracy/held_out"] == found["held_out"]["accuracy"]
    assert "accuracy/zero_shot_held_out" in metrics
    assert not {"accuracy/val", "accuracy/zero_shot", "accuracy/test"} & metrics.keys()
    assert uses == {"training"}


@pytest.mark.slow
def test_one_image_a_class_is_returned_unjudged(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = trained("one", {**NONE, "data.shots": 1}, with_test=True)
    assert result.summary["tuned"]["judged_by"] == "nothing"
    verdict = result.summary["tuned"]["verdict"]
    assert verdict.startswith("One image a class cannot tell")
    assert verdict in page_of(result)
    assert known(Artifact.load(result.classifier_folder).about).verdict == verdict
    assert (result.validation, result.held_out) == (None, None)
    assert known(result.test).images == 40
    unmeasured = trained("two", {**NONE, "data.shots": 1}, with_test=False)
    assert "No image measured it" in page_of(unmeasured)
    assert "not tested on any image" in card_of(unmeasured)


@pytest.mark.slow
def test_without_training_images_it_is_zero_shot(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = trained("zero", {**SMALL, "data.shots": 0}, with_test=True)
    assert known(result.test).accuracy == known(result.zero_shot).accuracy
    assert result.gain == 0
    assert result.summary["data"]["num_train"] == 0
    assert read_training_images(result.folder) == frozenset()
    assert result.spent.head_predictions == result.spent.search_predictions == 0
    assert "what the prompts alone give" in page_of(result)
    classifier = result.classifier()
    images = np.zeros((2, 28, 28, 3), np.uint8)
    assert len(classifier.predict(images)) == 2
    assert trained("nothing", {**SMALL, "data.shots": 0}, with_test=False).test is None


@pytest.mark.slow
def test_a_search_compares_by_held_out_images_and_goes_on(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {**NONE, **source(with_test=False), "data.shots": 4, "name": "search"}
    settings["mlflow.enabled"] = True
    found = craft_ray.tune(SPACE, settings, progress=False)
    check_whole(found)
    assert found.validation is None
    best = found.summary["best"]
    scores = [trial["held_out"]["accuracy"] for trial in found.summary["trials"]]
    assert best["held_out"]["accuracy"] == max(scores) == known(found.held_out).accuracy
    assert best["objectives"]["accuracy"] == max(scores)
    assert found.spent.evaluation_predictions == 0
    assert "The best trial is the best on these" in page_of(found)
    for metrics, uses in recorded(tmp_path):
        assert "accuracy/held_out" in metrics
        assert "accuracy/val" not in metrics
        assert uses == {"training"}
    (found.folder / "summary.json").unlink()
    again = craft_ray.tune(SPACE, settings, progress=False, resume=True)
    assert again.summary["best"] == best


def recorded(folder: Path) -> Iterator[tuple[dict[str, float], set[str]]]:
    """Metrics of each run that MLflow has, and what its data sets are for."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    for run in client.search_runs(experiments):
        uses = {tag.value for each in known(run.inputs).dataset_inputs for tag in each.tags}
        yield dict(run.data.metrics), uses
